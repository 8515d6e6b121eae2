using System.ComponentModel;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Volant.Linux.Files;

/// <summary>The space that a file takes: holes, which read as zeros and take none, and space that is had before it is needed (<c>man 2 fallocate</c>).</summary>
public static partial class FileSpace
{
    private const int KeepSize = 1;
    private const int PunchHole = 2;
    private const int BufferBytes = 256 << 10;

    /// <summary>Makes a range read as zeros; where the file system has no holes, zeros are written. The file's length stays.</summary>
    /// <exception cref="Win32Exception">The kernel refused.</exception>
    /// <exception cref="IOException">Writing failed.</exception>
    public static void Punch(SafeFileHandle file, long offset, long length)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(length);
        while (Allocate(file, PunchHole | KeepSize, offset, length) != 0)
        {
            switch (Marshal.GetLastPInvokeError())
            {
                case Errno.Interrupted:
                    continue;
                case Errno.NotSupported or Errno.NotImplemented:
                    WriteZeros(file, offset, length);
                    return;
                default:
                    throw LinuxError.Last("fallocate");
            }
        }
    }

    /// <summary>Makes sure that writing below <paramref name="length"/> cannot fail for want of space; what is there stays.</summary>
    /// <exception cref="Win32Exception">ENOSPC: the disk has not that much; EOPNOTSUPP: the file system cannot promise it.</exception>
    public static void Reserve(SafeFileHandle file, long length)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(length);
        while (Allocate(file, 0, 0, length) != 0)
        {
            if (Marshal.GetLastPInvokeError() != Errno.Interrupted)
            {
                throw LinuxError.Last("fallocate");
            }
        }
    }

    internal static void WriteZeros(SafeFileHandle file, long offset, long length)
    {
        var zeros = new byte[Math.Min(length, BufferBytes)];
        for (var end = Math.Min(offset + length, RandomAccess.GetLength(file)); offset < end;)
        {
            var part = (int)Math.Min(zeros.Length, end - offset);
            RandomAccess.Write(file, zeros.AsSpan(0, part), offset);
            offset += part;
        }
    }

    [LibraryImport("libc", EntryPoint = "fallocate", SetLastError = true)]
    private static partial int Allocate(SafeFileHandle file, int mode, long offset, long length);
}
