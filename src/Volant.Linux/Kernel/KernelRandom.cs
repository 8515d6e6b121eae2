using System.ComponentModel;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Volant.Linux.Kernel;

/// <summary>Cryptographic random bytes from the kernel, for programs without a cryptographic library; and the kernel's own seed.</summary>
public static unsafe partial class KernelRandom
{
    /// <summary>Longest seed in bytes that <see cref="Mix"/> takes: more than the kernel's pool can use.</summary>
    public const int MaxSeed = 512;

    private const string Device = "/dev/urandom";
    private const int OpenWriteCloseOnExec = 0x80001; // O_WRONLY | O_CLOEXEC
    private const nuint AddEntropy = 0x40085203; // RNDADDENTROPY
    private const nuint Reseed = 0x5207; // RNDRESEEDCRNG

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

    /// <summary>Mixes a secret seed into the kernel's pool, counts every bit of it as random, and makes the generator use it at once.</summary>
    /// <remarks>
    /// What runs after this call differs from every other machine that started from the same memory; what programs have drawn before does
    /// not (random(4)). The seed must come from the host, never from inside the guest.
    /// </remarks>
    /// <param name="seed">1 to <see cref="MaxSeed"/> bytes.</param>
    /// <exception cref="ArgumentOutOfRangeException">No seed, or one that is too long.</exception>
    /// <exception cref="Win32Exception">EPERM: needs CAP_SYS_ADMIN; ENOENT: there is no /dev/urandom.</exception>
    public static void Mix(ReadOnlySpan<byte> seed)
    {
        ArgumentOutOfRangeException.ThrowIfZero(seed.Length, nameof(seed));
        ArgumentOutOfRangeException.ThrowIfGreaterThan(seed.Length, MaxSeed, nameof(seed));
        using var device = new SafeFileHandle(LinuxError.Check(Open(Device, OpenWriteCloseOnExec), $"Opening {Device}"), ownsHandle: true);

        // struct rand_pool_info: entropy in bits, length in bytes, then the bytes.
        Span<byte> info = stackalloc byte[8 + MaxSeed];
        MemoryMarshal.Write(info, seed.Length * 8);
        MemoryMarshal.Write(info[4..], seed.Length);
        seed.CopyTo(info[8..]);
        fixed (byte* start = info)
        {
            var added = Control(device, AddEntropy, start);
            var errno = Marshal.GetLastPInvokeError();
            info.Clear();
            if (added < 0)
            {
                throw LinuxError.Of(errno, "Mixing a seed into the random pool");
            }
        }

        LinuxError.Check(Control(device, Reseed, null), "Reseeding the random generator");
    }

    [LibraryImport("libc", EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Open(string path, int flags);

    [LibraryImport("libc", EntryPoint = "ioctl", SetLastError = true)]
    private static partial int Control(SafeFileHandle fd, nuint request, byte* argument);

    [LibraryImport("libc", EntryPoint = "getrandom", SetLastError = true)]
    private static partial nint GetRandom(byte* bytes, nuint length, uint flags);
}
