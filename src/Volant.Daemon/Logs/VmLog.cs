using System.Buffers;
using System.Text.Json;
using Volant.Contracts;
using Volant.Contracts.Api;

namespace Volant.Daemon.Logs;

/// <summary>What the workload of one VM wrote: two files of bounded size, one JSON document a line, and those who follow it now.</summary>
/// <remarks>
/// The files are opened for each batch of lines, so that a log that someone moved or deleted begins anew. A disk that is full costs
/// lines in the file, never the followers theirs. Thread-safe.
/// </remarks>
internal sealed class VmLog(string directory)
{
    /// <summary>Size at which the file is put aside and a new one begun; the one that was aside is deleted.</summary>
    public const long MaxFileBytes = 4 * 1024 * 1024;

    /// <summary>Lines that a follower may be behind.</summary>
    public const int FollowerLines = 8192;

    /// <summary>Characters that a follower may be behind.</summary>
    public const long FollowerChars = 512 * 1024;

    private readonly Lock _gate = new();
    private readonly List<BoundedFeed<LogLine>> _followers = [];
    private readonly ArrayBufferWriter<byte> _text = new();
    private bool _isOpened;

    /// <summary>File with the newest lines.</summary>
    public string Current { get; } = Path.Combine(directory, "workload.log");

    /// <summary>File with the lines before those.</summary>
    public string Previous { get; } = Path.Combine(directory, "workload.log.1");

    /// <summary>Writes lines down and hands them to the followers.</summary>
    /// <returns>Why they could not be written down, if they could not.</returns>
    public Exception? Append(IReadOnlyList<LogLine> lines)
    {
        lock (_gate)
        {
            Exception? problem = null;
            try
            {
                Write_NeedsLock(lines);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                problem = e;
            }

            for (var i = _followers.Count - 1; i >= 0; i--)
            {
                if (!lines.All(_followers[i].TryAdd))
                {
                    _followers.RemoveAt(i);
                }
            }

            return problem;
        }
    }

    /// <summary>The log as it is now.</summary>
    public LogSnapshot Open()
    {
        // Not while the files change places.
        lock (_gate)
        {
            return LogSnapshot.Open(Previous, Current);
        }
    }

    /// <summary>The log as it is now, and every line that comes after it.</summary>
    public (LogSnapshot Snapshot, BoundedFeed<LogLine> Feed) Follow()
    {
        var feed = new BoundedFeed<LogLine>(FollowerLines, FollowerChars, static line => line.Line.Length);
        lock (_gate)
        {
            _followers.Add(feed);
            return (Open(), feed);
        }
    }

    /// <summary>Ends what <see cref="Follow"/> began.</summary>
    public void Leave(BoundedFeed<LogLine> feed)
    {
        lock (_gate)
        {
            _followers.Remove(feed);
        }
    }

    private void Write_NeedsLock(IReadOnlyList<LogLine> lines)
    {
        const UnixFileMode ownerOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite;
        var options = new FileStreamOptions { Mode = FileMode.OpenOrCreate, Access = FileAccess.ReadWrite, Share = FileShare.ReadWrite | FileShare.Delete, BufferSize = 0, UnixCreateMode = ownerOnly };
        _text.ResetWrittenCount();
        using (var json = new Utf8JsonWriter(_text, new JsonWriterOptions { Encoder = ContractsJson.Readable.Options.Encoder, SkipValidation = true }))
        {
            foreach (var line in lines)
            {
                JsonSerializer.Serialize(json, line, ContractsJson.Readable.LogLine);
                json.Flush();
                _text.Write("\n"u8);
                json.Reset();
            }
        }

        if (new FileInfo(Current) is { Exists: true } file && file.Length + _text.WrittenCount > MaxFileBytes)
        {
            File.Move(Current, Previous, overwrite: true);
        }

        using var stream = new FileStream(Current, options);
        if (!_isOpened && stream.Length > 0)
        {
            // A daemon that was killed may have left half a line.
            stream.Seek(-1, SeekOrigin.End);
            if (stream.ReadByte() != '\n')
            {
                stream.WriteByte((byte)'\n');
            }
        }

        stream.Seek(0, SeekOrigin.End);
        stream.Write(_text.WrittenSpan);
        _isOpened = true;
    }
}
