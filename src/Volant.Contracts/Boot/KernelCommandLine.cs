using System.Text;

namespace Volant.Contracts.Boot;

/// <summary>Builds and reads a Linux kernel command line.</summary>
/// <remarks>
/// Source: Linux, Documentation/admin-guide/kernel-parameters.rst; <c>COMMAND_LINE_SIZE</c> is 2048 on x86 including the terminator,
/// and a longer line makes the guest hang without a word, so <see cref="ToString"/> refuses it.
/// </remarks>
public sealed class KernelCommandLine
{
    /// <summary>Longest line in UTF-8 bytes that an x86 kernel reads whole.</summary>
    public const int MaxBytes = 2047;

    private readonly List<string> _words = [];

    /// <summary>Appends a flag such as <c>quiet</c>, or a key with a value.</summary>
    /// <exception cref="FormatException">The key or the value holds white space, a quote or a control character.</exception>
    public KernelCommandLine Add(string key, string? value = null)
    {
        ArgumentException.ThrowIfNullOrEmpty(key);
        var word = value is null ? key : $"{key}={value}";
        if (!IsWord(word))
        {
            throw new FormatException($"The kernel argument '{key}' holds white space, a quote or a control character.");
        }

        _words.Add(word);
        return this;
    }

    /// <summary>Whether a text stays one word: it holds no white space of any kind, no quote and no control character.</summary>
    public static bool IsWord(string text) => !text.Any(c => c == '"' || char.IsWhiteSpace(c) || char.IsControl(c));

    /// <summary>Appends words that a user wrote, as they are.</summary>
    /// <exception cref="FormatException">The text holds a control character or an unclosed quote.</exception>
    public KernelCommandLine AddRaw(string? words)
    {
        if (string.IsNullOrWhiteSpace(words))
        {
            return this;
        }

        if (words.Any(char.IsControl) || words.Count(c => c == '"') % 2 != 0)
        {
            throw new FormatException("The kernel command line holds a control character or an unclosed quote.");
        }

        _words.Add(words.Trim());
        return this;
    }

    /// <summary>Length of the line in UTF-8 bytes.</summary>
    public int ByteCount => Encoding.UTF8.GetByteCount(string.Join(' ', _words));

    /// <summary>The line.</summary>
    /// <exception cref="FormatException">It is longer than <see cref="MaxBytes"/>.</exception>
    public override string ToString()
    {
        var line = string.Join(' ', _words);
        var bytes = Encoding.UTF8.GetByteCount(line);
        return bytes <= MaxBytes
            ? line
            : throw new FormatException($"The kernel command line has {bytes} bytes; kernels read at most {MaxBytes}.");
    }

    /// <summary>Splits a line as the kernel does: words at white space outside double quotes, last one of a key wins.</summary>
    /// <param name="line">Content of <c>/proc/cmdline</c>.</param>
    /// <returns>Values by key; a flag has an empty value. What follows <c>--</c> belongs to init and is left out.</returns>
    public static IReadOnlyDictionary<string, string> Parse(string line)
    {
        ArgumentNullException.ThrowIfNull(line);
        var values = new Dictionary<string, string>(StringComparer.Ordinal);
        var word = new StringBuilder();
        var quoted = false;
        foreach (var c in line.Append(' '))
        {
            if (c == '"')
            {
                quoted = !quoted;
            }
            else if (quoted || !char.IsWhiteSpace(c))
            {
                word.Append(c);
            }
            else if (word.Length > 0)
            {
                var text = word.ToString();
                word.Clear();
                if (text == "--")
                {
                    break;
                }

                var equals = text.IndexOf('=', StringComparison.Ordinal);
                values[equals < 0 ? text : text[..equals]] = equals < 0 ? string.Empty : text[(equals + 1)..];
            }
        }

        return values;
    }
}
