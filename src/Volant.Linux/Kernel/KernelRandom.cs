using System.ComponentModel;
using System.Runtime.InteropServices;

namespace Volant.Linux.Kernel;

/// <summary>Cryptographic random bytes from the kernel, for programs without a cryptographic library.</summary>
public static unsafe partial class KernelRandom
{
    /// <summary>Fills <paramref name="bytes"/>. Blocks, early after boot, until the kernel has gathered enough entropy.</summary>
    /// <exception cref="Win32Exception">The kernel refused.</exception>
    public static void Fill(Span<byte> bytes)
    {
        while (!bytes.IsEmpty)
        {
            nint count;
            fixed (byte* start = bytes)
            {
                count = GetRandom(start, (nuint)bytes.Length, 0);
            }

            if (count >= 0)
            {
                bytes = bytes[(int)count..];
            }
            else if (Marshal.GetLastPInvokeError() != Errno.Interrupted)
            {
                throw LinuxError.Last("getrandom");
            }
        }
    }

    [LibraryImport("libc", EntryPoint = "getrandom", SetLastError = true)]
    private static partial nint GetRandom(byte* bytes, nuint length, uint flags);
}
