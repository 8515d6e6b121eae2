using System.Buffers.Binary;
using System.IO.Compression;
using Volant.Contracts.Api;

namespace Volant.Daemon.Artifacts;

/// <summary>Unpacks files that are one gzip member from end to end.</summary>
/// <remarks>
/// Source: RFC 1952, section 2.3: a member ends with the length of its content modulo 2^32. A file that goes on after a member, as an
/// initramfs of several segments does, ends with something else and is left as it is.
/// </remarks>
internal static class GzipMember
{
    private const int TrailerLength = 4;
    private const int BufferSize = 256 * 1024;

    /// <summary>Writes the content of <paramref name="source"/> to <paramref name="target"/>; false when it is no single member.</summary>
    /// <exception cref="VolantException"><c>invalid_media</c>: the content is damaged, or exceeds <paramref name="maxBytes"/>.</exception>
    public static async Task<bool> TryUnpackAsync(string source, string target, long maxBytes, CancellationToken cancellationToken)
    {
        await using var packed = new FileStream(source, FileMode.Open, FileAccess.Read, FileShare.Read, BufferSize, FileOptions.Asynchronous);
        if (packed.Length < TrailerLength || packed.ReadByte() != 0x1f || packed.ReadByte() != 0x8b)
        {
            return false;
        }

        var trailer = new byte[TrailerLength];
        packed.Seek(-TrailerLength, SeekOrigin.End);
        await packed.ReadExactlyAsync(trailer, cancellationToken);
        packed.Seek(0, SeekOrigin.Begin);
        try
        {
            return await UnpackAsync(packed, target, maxBytes, cancellationToken) is var length && (uint)length == BinaryPrimitives.ReadUInt32LittleEndian(trailer);
        }
        catch (InvalidDataException e)
        {
            throw new VolantException(ErrorCodes.InvalidMedia, $"The initramfs is a damaged gzip file ({e.Message}); build or fetch it again.", e);
        }
    }

    private static async Task<long> UnpackAsync(FileStream packed, string target, long maxBytes, CancellationToken cancellationToken)
    {
        await using var gzip = new GZipStream(packed, CompressionMode.Decompress, leaveOpen: true);
        await using var content = new FileStream(target, new FileStreamOptions { Mode = FileMode.Create, Access = FileAccess.Write, BufferSize = 0, Options = FileOptions.Asynchronous });
        var buffer = new byte[BufferSize];
        var length = 0L;
        while (await gzip.ReadAsync(buffer, cancellationToken) is > 0 and var read)
        {
            length += read;
            if (length > maxBytes)
            {
                throw new VolantException(ErrorCodes.InvalidMedia, $"The initramfs expands to more than {maxBytes >> 20} MiB; it is no initramfs, or a very large one that belongs on a disk.");
            }

            await content.WriteAsync(buffer.AsMemory(0, read), cancellationToken);
        }

        return length;
    }
}
