using System.ComponentModel;
using System.Runtime.InteropServices;

namespace Volant.Linux.Kernel;

/// <summary>Descriptor 1, written with plain <c>write(2)</c>.</summary>
/// <remarks>The framework's file types ask a device for its position first; a console claims to have one and then refuses writes at it.</remarks>
public static unsafe partial class StandardOutput
{
    private const int Descriptor = 1;

    /// <summary>Writes all of <paramref name="bytes"/>; blocks as long as the device does.</summary>
    /// <exception cref="Win32Exception">EIO: the terminal is gone; EBADF: closed; EPIPE: nobody reads.</exception>
    public static void Write(ReadOnlySpan<byte> bytes)
    {
        while (!bytes.IsEmpty)
        {
            nint count;
            fixed (byte* start = bytes)
            {
                count = WriteCall(Descriptor, start, (nuint)bytes.Length);
            }

            if (count >= 0)
            {
                bytes = bytes[(int)count..];
            }
            else if (Marshal.GetLastPInvokeError() != Errno.Interrupted)
            {
                throw LinuxError.Last("Writing to standard output");
            }
        }
    }

    [LibraryImport("libc", EntryPoint = "write", SetLastError = true)]
    private static partial nint WriteCall(int descriptor, byte* bytes, nuint length);
}
