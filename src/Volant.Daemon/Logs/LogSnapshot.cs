using System.Text.Json;
using Microsoft.Win32.SafeHandles;
using Volant.Contracts;
using Volant.Contracts.Api;

namespace Volant.Daemon.Logs;

/// <summary>A log as it was at one moment, whatever is appended or rotated later. Holds one buffer, however long the log is.</summary>
internal sealed class LogSnapshot : IDisposable
{
    /// <summary>Longest line of a log file in bytes; longer ones are not ours and are skipped.</summary>
    public const int MaxLine = 128 * 1024;

    private readonly List<(SafeFileHandle File, long Length)> _parts = [];

    /// <summary>Whether there is nothing in it.</summary>
    public bool IsEmpty => _parts.All(part => part.Length == 0);

    /// <summary>Opens a log, oldest part first; parts that do not exist are left out.</summary>
    public static LogSnapshot Open(params ReadOnlySpan<string> paths)
    {
        var snapshot = new LogSnapshot();
        foreach (var path in paths)
        {
            // The usual case of a guest that said nothing, without the price of an exception.
            if (!File.Exists(path))
            {
                continue;
            }

            try
            {
                var file = File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
                snapshot._parts.Add((file, RandomAccess.GetLength(file)));
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // Not written yet, or taken away: the rest is still a log.
            }
        }

        return snapshot;
    }

    /// <summary>The last lines that a query wants, oldest first.</summary>
    public IEnumerable<LogLine> Read(LogQuery query)
    {
        if (FindStart(query) is not { } start)
        {
            yield break;
        }

        foreach (var (_, text) in Lines(start))
        {
            if (Parse(text.Span) is { } line && query.Matches(line))
            {
                yield return line;
            }
        }
    }

    /// <summary>The id of the last line that has one.</summary>
    public string? LastId()
    {
        string? id = null;
        foreach (var (_, text) in Lines(Math.Max(0, _parts.Sum(part => part.Length) - (2 * MaxLine))))
        {
            id = Parse(text.Span)?.Id ?? id;
        }

        return id;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var (file, _) in _parts)
        {
            file.Dispose();
        }
    }

    private static LogLine? Parse(ReadOnlySpan<byte> text)
    {
        try
        {
            return JsonSerializer.Deserialize(text, ContractsJson.Default.LogLine);
        }
        catch (JsonException)
        {
            // A line that a full disk or a power cut has cut short.
            return null;
        }
    }

    /// <summary>Where the first of the last lines begins.</summary>
    private long? FindStart(LogQuery query)
    {
        if (query.Tail == 0)
        {
            return null;
        }

        var starts = new Queue<long>();
        foreach (var (offset, text) in Lines(0))
        {
            if (!query.IsOpen)
            {
                var line = Parse(text.Span);
                if (query.AfterId is { } id && line?.Id == id)
                {
                    starts.Clear();
                    continue;
                }

                if (line is null || !query.Matches(line))
                {
                    continue;
                }
            }

            if (starts.Count == query.Tail)
            {
                starts.Dequeue();
            }

            starts.Enqueue(offset);
        }

        return starts.TryPeek(out var start) ? start : null;
    }

    /// <summary>Lines from an offset into all parts; each is valid until the next one is asked for.</summary>
    private IEnumerable<(long Offset, ReadOnlyMemory<byte> Text)> Lines(long from)
    {
        var buffer = new byte[Math.Min(MaxLine, _parts.Sum(part => part.Length))];
        var before = 0L;
        foreach (var (file, length) in _parts)
        {
            var position = Math.Max(0, from - before);
            var filled = 0;
            var isSkipping = false;
            while (position < length)
            {
                var read = RandomAccess.Read(file, buffer.AsSpan(filled, (int)Math.Min(buffer.Length - filled, length - position)), position);
                if (read == 0)
                {
                    break;
                }

                position += read;
                filled += read;
                var start = 0;
                while (buffer.AsSpan(start, filled - start).IndexOf((byte)'\n') is >= 0 and var size)
                {
                    if (size > 0 && !isSkipping)
                    {
                        yield return (before + position - filled + start, buffer.AsMemory(start, size));
                    }

                    isSkipping = false;
                    start += size + 1;
                }

                buffer.AsSpan(start, filled - start).CopyTo(buffer);
                filled -= start;
                if (filled == buffer.Length)
                {
                    filled = 0;
                    isSkipping = true;
                }
            }

            before += length;
        }
    }
}
