using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Volant.Linux.Files;

/// <summary>Reading a directory: <c>man 2 getdents64</c>.</summary>
public sealed unsafe partial class DirectoryHandle
{
    private const int BufferSize = 32 * 1024;
    private const int LengthOffset = 16; // struct linux_dirent64: ino 8, off 8, reclen 2, type 1, name
    private const int NameOffset = 19;

    private static nint GetEntries => IsArm ? 61 : 217;

    /// <summary>The names in this directory but <c>.</c> and <c>..</c>, in the order of the file system. One listing of a handle at a time.</summary>
    /// <remarks>Bytes, because a name need not be UTF-8. What is added or removed meanwhile may be missed.</remarks>
    public IEnumerable<byte[]> List()
    {
        LinuxError.Check((int)SeekCall(_handle, 0, 0), "Reading a directory");
        var buffer = new byte[BufferSize];
        while (ReadEntries(buffer) is > 0 and var length)
        {
            for (var at = 0; at < length;)
            {
                var size = BinaryPrimitives.ReadUInt16LittleEndian(buffer.AsSpan(at + LengthOffset));
                var name = buffer.AsSpan((at + NameOffset)..(at + size));
                at += size;
                var text = name[..name.IndexOf((byte)0)];
                if (text is not ([(byte)'.'] or [(byte)'.', (byte)'.']))
                {
                    yield return text.ToArray();
                }
            }
        }
    }

    private int ReadEntries(byte[] buffer)
    {
        fixed (byte* into = buffer)
        {
            return LinuxError.Check((int)EntriesCall(GetEntries, _handle.DangerousGetHandle(), into, buffer.Length, 0, 0, 0), "Reading a directory");
        }
    }

    [LibraryImport("libc", EntryPoint = "lseek", SetLastError = true)]
    private static partial nint SeekCall(SafeFileHandle directory, nint offset, int whence);

    [LibraryImport("libc", EntryPoint = "syscall", SetLastError = true)]
    private static partial nint EntriesCall(nint number, nint directory, byte* into, nint size, nint d, nint e, nint f);
}
