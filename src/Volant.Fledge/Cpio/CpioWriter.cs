using System.Buffers;
using Volant.Contracts.Boot;

namespace Volant.Fledge.Cpio;

/// <summary>Writes a reproducible "newc" archive: the bytes depend on nothing but paths, modes and contents, in the given order.</summary>
/// <remarks>
/// Inode numbers count from 1, so hard links never arise. A content is streamed through one buffer. The archive's length is a multiple of
/// <see cref="CpioHeader.Alignment"/>, so another raw segment may follow directly.
/// </remarks>
internal sealed class CpioWriter(Stream output)
{
    private const int BufferBytes = 256 * 1024;
    private static readonly byte[] Padding = new byte[CpioHeader.Alignment];

    private uint _inode;

    /// <summary>Bytes written so far.</summary>
    public long Length { get; private set; }

    /// <summary>Members written so far, the trailer not counted.</summary>
    public int Count => (int)_inode;

    /// <summary>Appends one member.</summary>
    /// <exception cref="FledgeException">A limit of the format is exceeded, or the file changed its size meanwhile.</exception>
    public async Task WriteAsync(CpioEntry entry, CancellationToken cancellationToken)
    {
        Reserve(entry.Path, CpioFormat.Text.GetByteCount(entry.Path), entry.SizeBytes);
        var isDirectory = (entry.Mode & CpioFormat.TypeMask) == CpioFormat.TypeDirectory;
        await WriteHeaderAsync(entry.Path, _inode, entry.Mode, isDirectory ? 2 : 1, entry.SizeBytes, cancellationToken);
        if (entry.HostFile is { } file)
        {
            await CopyAsync(file, entry.SizeBytes, cancellationToken);
        }
        else
        {
            await PutAsync(entry.Data, cancellationToken);
        }

        await AlignAsync(cancellationToken);
    }

    /// <summary>Appends one name of a file of an image.</summary>
    /// <param name="name">Path without a leading slash, as bytes.</param>
    /// <param name="inode">Number of the file; the same for each of its names.</param>
    /// <param name="mode">File type and permission bits.</param>
    /// <param name="links">Number of names; 2 for a directory.</param>
    /// <param name="owner">Owner and group.</param>
    /// <param name="device">Major and minor number of a device.</param>
    /// <param name="content">The content, which is read to its end; null for none, and for all names of a file but the last.</param>
    /// <param name="cancellationToken">Stops it.</param>
    /// <exception cref="FledgeException">A limit of the format is exceeded.</exception>
    public async Task WriteAsync(byte[] name, uint inode, int mode, int links, (uint Uid, uint Gid) owner, (uint Major, uint Minor) device, Stream? content, CancellationToken cancellationToken)
    {
        Reserve(System.Text.Encoding.UTF8.GetString(name), name.Length, content?.Length ?? 0);
        await PutAsync(CpioHeader.Encode(name, inode, mode, links, content?.Length ?? 0, owner.Uid, owner.Gid, device.Major, device.Minor), cancellationToken);
        if (content is not null)
        {
            var buffer = new byte[Math.Min(BufferBytes, Math.Max(1, content.Length))];
            for (int read; (read = await content.ReadAsync(buffer, cancellationToken)) > 0;)
            {
                await PutAsync(buffer.AsMemory(0, read), cancellationToken);
            }
        }

        await AlignAsync(cancellationToken);
    }

    /// <summary>Appends the trailer; nothing may follow in this archive.</summary>
    public async Task FinishAsync(CancellationToken cancellationToken)
    {
        await WriteHeaderAsync(CpioHeader.Trailer, 0, 0, 1, 0, cancellationToken);
        await output.FlushAsync(cancellationToken);
    }

    private void Reserve(string path, int pathBytes, long sizeBytes)
    {
        if (++_inode > CpioFormat.MaxEntries)
        {
            throw new FledgeException($"The archive has more than {CpioFormat.MaxEntries} entries; put the files into a root disk or map fewer directories.");
        }

        if (pathBytes > CpioFormat.MaxPathBytes)
        {
            throw new FledgeException($"The guest path '/{path[..60]}…' has {pathBytes} bytes; at most {CpioFormat.MaxPathBytes} are possible.");
        }

        if (sizeBytes > CpioFormat.MaxFileBytes)
        {
            throw new FledgeException($"'/{path}' has {sizeBytes} bytes; a file in an initramfs has at most {CpioFormat.MaxFileBytes}. Put it on a disk.");
        }

        if (Length + sizeBytes > CpioFormat.MaxArchiveBytes)
        {
            throw new FledgeException($"The archive exceeds {CpioFormat.MaxArchiveBytes} bytes at '/{path}'; put large files on a disk.");
        }
    }

    private Task WriteHeaderAsync(string path, uint inode, int mode, int links, long size, CancellationToken cancellationToken) =>
        PutAsync(CpioHeader.Encode(path, inode, mode, links, size), cancellationToken);

    private async Task CopyAsync(string file, long size, CancellationToken cancellationToken)
    {
        var buffer = ArrayPool<byte>.Shared.Rent(BufferBytes);
        try
        {
            await using var content = new FileStream(file, FileMode.Open, FileAccess.Read, FileShare.Read, bufferSize: 0, useAsync: false);
            var left = size;
            while (left > 0)
            {
                var read = await content.ReadAsync(buffer.AsMemory(0, (int)Math.Min(left, BufferBytes)), cancellationToken);
                if (read == 0)
                {
                    throw Changed(file, size);
                }

                await PutAsync(buffer.AsMemory(0, read), cancellationToken);
                left -= read;
            }

            if (await content.ReadAsync(buffer.AsMemory(0, 1), cancellationToken) > 0)
            {
                throw Changed(file, size);
            }
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    private static FledgeException Changed(string file, long size) =>
        new($"'{file}' changed while it was read (it had {size} bytes before); build again when nothing writes to it.");

    private async Task PutAsync(ReadOnlyMemory<byte> bytes, CancellationToken cancellationToken)
    {
        await output.WriteAsync(bytes, cancellationToken);
        Length += bytes.Length;
    }

    private Task AlignAsync(CancellationToken cancellationToken)
    {
        var rest = (int)(Length % CpioHeader.Alignment);
        return rest == 0 ? Task.CompletedTask : PutAsync(Padding.AsMemory(0, CpioHeader.Alignment - rest), cancellationToken);
    }
}
