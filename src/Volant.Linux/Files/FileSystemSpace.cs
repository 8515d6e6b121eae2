using System.Runtime.InteropServices;

namespace Volant.Linux.Files;

/// <summary>How full a file system is.</summary>
/// <param name="TotalBytes">Size.</param>
/// <param name="AvailableBytes">What programs without privileges can still write.</param>
public readonly partial record struct FileSystemSpace(long TotalBytes, long AvailableBytes)
{
    /// <summary>Asks the file system at <paramref name="path"/>.</summary>
    /// <exception cref="System.ComponentModel.Win32Exception">ENOENT, EIO.</exception>
    public static unsafe FileSystemSpace Of(string path)
    {
        Statistics statistics;
        LinuxError.Check(StatCall(path, &statistics), $"Asking the file system at '{path}'");
        return new FileSystemSpace((long)(statistics.Blocks * statistics.FragmentSize), (long)(statistics.Available * statistics.FragmentSize));
    }

    [LibraryImport("libc", EntryPoint = "statvfs", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static unsafe partial int StatCall(string path, Statistics* statistics);

    /// <summary>glibc's <c>struct statvfs</c>, 112 bytes on 64-bit Linux.</summary>
    [StructLayout(LayoutKind.Explicit, Size = 112)]
    internal struct Statistics
    {
        [FieldOffset(8)]
        public ulong FragmentSize;

        [FieldOffset(16)]
        public ulong Blocks;

        [FieldOffset(32)]
        public ulong Available;
    }
}
