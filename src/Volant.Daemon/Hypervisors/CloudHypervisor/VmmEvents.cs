using System.Text.Json;

namespace Volant.Daemon.Hypervisors.CloudHypervisor;

/// <summary>Reads what the event monitor of one process wrote to its file.</summary>
/// <remarks>
/// JSON objects one after another with blank lines between them, appended; source: Cloud Hypervisor, event_monitor. A guest can cause events
/// without end (by resetting devices): what was read is given back to the file system, and an object that never ends is passed over.
/// Not safe for concurrent use.
/// </remarks>
internal sealed class VmmEvents(string path)
{
    /// <summary>Most bytes of one object.</summary>
    public const int MaxEventBytes = 64 * 1024;

    /// <summary>How much of the file may be read already and still there.</summary>
    public const long MaxReadBytes = 1 << 20;

    private byte[] _pending = [];
    private long _position;
    private long _emptiedAt;

    /// <summary>The events since the last call, as <c>source event</c>, such as <c>vm rebooting</c>; none when nothing is there.</summary>
    public IReadOnlyList<string> Read()
    {
        var events = new List<string>();
        try
        {
            using var file = File.OpenHandle(path, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite | FileShare.Delete);
            var buffer = new byte[MaxEventBytes];
            while (RandomAccess.Read(file, buffer, _position) is > 0 and var count)
            {
                _position += count;
                _pending = [.. _pending, .. buffer.AsSpan(0, count)];
                _pending = _pending[Parse(_pending, events)..];
                if (_pending.Length > MaxEventBytes)
                {
                    _pending = [];
                }
            }

            if (_position - _emptiedAt > MaxReadBytes)
            {
                // The writer goes on behind what was there: before that is a hole, which takes no space.
                RandomAccess.SetLength(file, 0);
                _emptiedAt = _position;
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return events;
        }

        return events;
    }

    /// <summary>Reads whole objects and says how many bytes they were.</summary>
    private static int Parse(ReadOnlySpan<byte> bytes, List<string> events)
    {
        var used = 0;
        while (used < bytes.Length)
        {
            // NUL is what a hole reads as.
            var start = bytes[used..].IndexOfAnyExcept(" \r\n\t\0"u8);
            if (start < 0)
            {
                return bytes.Length;
            }

            used += start;
            var reader = new Utf8JsonReader(bytes[used..], isFinalBlock: false, new JsonReaderState(new JsonReaderOptions { AllowMultipleValues = true }));
            try
            {
                if (!JsonDocument.TryParseValue(ref reader, out var document))
                {
                    return used;
                }

                using (document)
                {
                    if (NameOf(document.RootElement) is { } name)
                    {
                        events.Add(name);
                    }
                }

                used += (int)reader.BytesConsumed;
            }
            catch (JsonException) when (IsWhole(bytes[used..]))
            {
                // Garbage: up to the next blank line.
                used += bytes[used..].IndexOf("\n\n"u8) + 2;
            }
            catch (JsonException)
            {
                return used;
            }
        }

        return used;
    }

    private static bool IsWhole(ReadOnlySpan<byte> bytes) => bytes.IndexOf("\n\n"u8) >= 0;

    private static string? NameOf(JsonElement happened) =>
        happened.ValueKind == JsonValueKind.Object &&
        happened.TryGetProperty("source", out var source) && source.ValueKind == JsonValueKind.String &&
        happened.TryGetProperty("event", out var name) && name.ValueKind == JsonValueKind.String
            ? $"{source.GetString()} {name.GetString()}"
            : null;
}
