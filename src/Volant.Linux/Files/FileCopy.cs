using System.Buffers;
using System.ComponentModel;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Volant.Linux.Files;

/// <summary>Copies file contents inside the kernel, sharing the blocks where the file system can (<c>man 2 copy_file_range</c>).</summary>
public static unsafe partial class FileCopy
{
    /// <summary>Bytes per system call, so that a cancelled copy ends soon.</summary>
    private const long ChunkSize = 64L << 20;

    private const int BufferSize = 256 << 10;

    /// <summary>Appends the bytes that <paramref name="source"/> has now to the end of <paramref name="destination"/>.</summary>
    /// <param name="source">File to read; its position does not matter.</param>
    /// <param name="destination">File to extend, open for writing but not with O_APPEND; its position is not moved.</param>
    /// <param name="cancellationToken">Ends the copy between two chunks of 64 MiB; what was written stays.</param>
    /// <returns>Bytes appended; fewer than the source had only if it was cut short meanwhile.</returns>
    /// <exception cref="Win32Exception">The kernel refused; ENOSPC: the disk is full.</exception>
    /// <exception cref="IOException">Reading or writing failed.</exception>
    /// <exception cref="OperationCanceledException">Cancelled.</exception>
    public static long Append(SafeFileHandle source, SafeFileHandle destination, CancellationToken cancellationToken = default)
    {
        var length = RandomAccess.GetLength(source);
        var start = RandomAccess.GetLength(destination);
        var copied = 0L;
        while (copied < length)
        {
            cancellationToken.ThrowIfCancellationRequested();
            var from = copied;
            var to = start + copied;
            var count = CopyRange(source, &from, destination, &to, (nuint)Math.Min(ChunkSize, length - copied), 0);
            if (count > 0)
            {
                copied += count;
                continue;
            }

            // Zero: the end, or a file system that cannot do it and does not say so. The plain copy finds out.
            var errno = count < 0 ? Marshal.GetLastPInvokeError() : 0;
            switch (errno)
            {
                case Errno.Interrupted:
                    break;
                case 0 or Errno.CrossDevice or Errno.Invalid or Errno.NotSupported or Errno.NotImplemented or Errno.NotPermitted:
                    return copied + CopyPlainly(source, copied, destination, start + copied, length - copied, cancellationToken);
                default:
                    throw LinuxError.Of(errno, "copy_file_range");
            }
        }

        return copied;
    }

    internal static long CopyPlainly(
        SafeFileHandle source, long from, SafeFileHandle destination, long to, long length, CancellationToken cancellationToken)
    {
        var buffer = ArrayPool<byte>.Shared.Rent(BufferSize);
        try
        {
            var copied = 0L;
            while (copied < length)
            {
                cancellationToken.ThrowIfCancellationRequested();
                var wanted = (int)Math.Min(buffer.Length, length - copied);
                var count = RandomAccess.Read(source, buffer.AsSpan(0, wanted), from + copied);
                if (count == 0)
                {
                    break;
                }

                RandomAccess.Write(destination, buffer.AsSpan(0, count), to + copied);
                copied += count;
            }

            return copied;
        }
        finally
        {
            // What was copied may be secret, and the buffer is shared.
            ArrayPool<byte>.Shared.Return(buffer, clearArray: true);
        }
    }

    [LibraryImport("libc", EntryPoint = "copy_file_range", SetLastError = true)]
    private static partial nint CopyRange(SafeFileHandle source, long* from, SafeFileHandle destination, long* to, nuint length, uint flags);
}
