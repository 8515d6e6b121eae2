using System.ComponentModel;
using System.Formats.Tar;
using System.Text;
using System.Text.Unicode;
using Volant.Linux;
using Volant.Linux.Files;

namespace Volant.Agent.Files;

/// <summary>Writes a directory as a tar archive (POSIX pax; GNU where a name has a line break), names relative to it and in order.</summary>
/// <remarks>
/// Sockets, pipes, devices and names that are no UTF-8 are left out; of a mount its directory is there, and nothing of what is in it. A file that
/// changes meanwhile has the size that it had first.
/// </remarks>
internal sealed class TarPacker(TarWriter writer)
{
    /// <summary>Deepest directory.</summary>
    public const int MaxDepth = 128;

    /// <summary>Packs a directory.</summary>
    /// <exception cref="IOException">It is deeper than <see cref="MaxDepth"/>.</exception>
    public static async Task PackAsync(DirectoryHandle directory, Stream into, CancellationToken cancellationToken)
    {
        await using var writer = new TarWriter(into, TarEntryFormat.Pax, leaveOpen: true);
        await new TarPacker(writer).WalkAsync(directory, "./", 0, cancellationToken);
    }

    private async Task WalkAsync(DirectoryHandle directory, string prefix, int depth, CancellationToken cancellationToken)
    {
        if (depth > MaxDepth)
        {
            throw new IOException($"'{prefix}' is deeper than {MaxDepth} directories.");
        }

        await WriteAsync(TarEntryType.Directory, prefix, directory.Stat(), null, null, cancellationToken);
        foreach (var name in directory.List().Where(name => Utf8.IsValid(name)).OrderBy(name => Encoding.UTF8.GetString(name), StringComparer.Ordinal).ToList())
        {
            await PackAsync(directory, name, (prefix == "./" ? string.Empty : prefix) + Encoding.UTF8.GetString(name), depth, cancellationToken);
        }
    }

    private async Task PackAsync(DirectoryHandle directory, byte[] name, string path, int depth, CancellationToken cancellationToken)
    {
        try
        {
            var facts = directory.Stat(name);
            switch (facts.Kind)
            {
                case FileKind.Directory:
                    await PackDirectoryAsync(directory, name, path, facts, depth, cancellationToken);
                    break;
                case FileKind.Regular:
                    await PackFileAsync(directory, name, path, cancellationToken);
                    break;
                case FileKind.SymbolicLink:
                    await WriteAsync(TarEntryType.SymbolicLink, path, facts, directory.ReadLink(name), null, cancellationToken);
                    break;
                default:
                    break;
            }
        }
        catch (Win32Exception e) when (e.NativeErrorCode is Errno.NoEntry or Errno.TooManyLinks or Errno.NotDirectory)
        {
            // It was removed, or replaced by something else, since it was listed.
        }
    }

    private async Task PackDirectoryAsync(DirectoryHandle directory, byte[] name, string path, FileFacts facts, int depth, CancellationToken cancellationToken)
    {
        DirectoryHandle below;
        try
        {
            below = directory.OpenDirectory(name);
        }
        catch (Win32Exception e) when (e.NativeErrorCode == Errno.CrossDevice)
        {
            await WriteAsync(TarEntryType.Directory, path + "/", facts, null, null, cancellationToken);
            return;
        }

        using (below)
        {
            await WalkAsync(below, path + "/", depth + 1, cancellationToken);
        }
    }

    private async Task PackFileAsync(DirectoryHandle directory, byte[] name, string path, CancellationToken cancellationToken)
    {
        using var file = directory.OpenFile(name);
        var facts = DirectoryHandle.FactsOf(file, path);
        if (facts.Kind == FileKind.Regular)
        {
            await using var content = new FixedLengthStream(file, facts.Size);
            await WriteAsync(TarEntryType.RegularFile, path, facts, null, content, cancellationToken);
        }
    }

    private Task WriteAsync(TarEntryType type, string path, FileFacts facts, string? target, Stream? content, CancellationToken cancellationToken)
    {
        // .NET reads no pax record with a line break in it; the older extension has no records. It has no fractions of a second either.
        TarEntry entry = path.Contains('\n', StringComparison.Ordinal) || target?.Contains('\n', StringComparison.Ordinal) is true
            ? new GnuTarEntry(type, path)
            : new PaxTarEntry(type, path);
        entry.Mode = (UnixFileMode)facts.Mode;
        entry.Uid = (int)Math.Min(facts.Uid, int.MaxValue);
        entry.Gid = (int)Math.Min(facts.Gid, int.MaxValue);
        entry.ModificationTime = facts.ModifiedAt;
        if (target is not null)
        {
            entry.LinkName = target;
        }

        if (content is not null)
        {
            entry.DataStream = content;
        }

        return writer.WriteEntryAsync(entry, cancellationToken);
    }
}

/// <summary>Reads a file as if it had a certain length: cut when it is longer by now, zeros when it is shorter.</summary>
internal sealed class FixedLengthStream(Microsoft.Win32.SafeHandles.SafeFileHandle file, long length) : Stream
{
    /// <inheritdoc/>
    public override bool CanRead => true;

    /// <inheritdoc/>
    public override bool CanSeek => true;

    /// <inheritdoc/>
    public override bool CanWrite => false;

    /// <inheritdoc/>
    public override long Length => length;

    /// <inheritdoc/>
    public override long Position { get; set; }

    /// <inheritdoc/>
    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        var wanted = buffer[..(int)Math.Min(buffer.Length, length - Position)];
        if (wanted.IsEmpty)
        {
            return 0;
        }

        var count = await RandomAccess.ReadAsync(file, wanted, Position, cancellationToken);
        if (count == 0)
        {
            wanted.Span.Clear();
            count = wanted.Length;
        }

        Position += count;
        return count;
    }

    /// <inheritdoc/>
    public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
        ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    /// <inheritdoc/>
    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException("Use ReadAsync.");

    /// <inheritdoc/>
    public override void Flush()
    {
    }

    /// <inheritdoc/>
    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    /// <inheritdoc/>
    public override void SetLength(long value) => throw new NotSupportedException();

    /// <inheritdoc/>
    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();
}
