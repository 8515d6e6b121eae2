using System.Text;

namespace Volant.Daemon.Hypervisors.Qemu;

/// <summary>QEMU's option strings: <c>type,key=value,key=value</c>, a comma in a value written twice.</summary>
/// <remarks>Source: QEMU, util/keyval.c and util/qemu-option.c: nothing but a comma ends a value, so nothing else needs care.</remarks>
internal static class QemuOption
{
    /// <summary>Joins keys, which are ours, and values, which may hold anything but NUL.</summary>
    public static string Join(string type, params ReadOnlySpan<(string Key, string Value)> values)
    {
        var text = new StringBuilder(type);
        foreach (var (key, value) in values)
        {
            text.Append(type.Length == 0 && text.Length == 0 ? string.Empty : ",").Append(key).Append('=')
                .Append(value.Replace(",", ",,", StringComparison.Ordinal));
        }

        return text.ToString();
    }

    /// <summary>The value of a key in what <see cref="Join"/> wrote; null when the key is not there.</summary>
    public static string? Find(string option, string key)
    {
        var part = new StringBuilder();
        for (var i = 0; i <= option.Length; i++)
        {
            var comma = i < option.Length && option[i] == ',';
            if (comma && i + 1 < option.Length && option[i + 1] == ',')
            {
                part.Append(',');
                i++;
            }
            else if (comma || i == option.Length)
            {
                var text = part.ToString();
                if (text.StartsWith(key, StringComparison.Ordinal) && text.Length > key.Length && text[key.Length] == '=')
                {
                    return text[(key.Length + 1)..];
                }

                part.Clear();
            }
            else
            {
                part.Append(option[i]);
            }
        }

        return null;
    }
}
