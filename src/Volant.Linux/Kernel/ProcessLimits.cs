using System.ComponentModel;
using System.Runtime.InteropServices;

namespace Volant.Linux.Kernel;

/// <summary>Limits and defaults of this process, which its future children inherit.</summary>
public static unsafe partial class ProcessLimits
{
    private const int LockedMemory = 8; // RLIMIT_MEMLOCK, likewise
    private const int OpenFiles = 7; // RLIMIT_NOFILE on x86-64 and arm64

    /// <summary>Sets which permissions new files do not get, such as <c>GroupWrite | OtherWrite</c>; returns the mask before.</summary>
    public static UnixFileMode SetFileModeMask(UnixFileMode mask) => (UnixFileMode)Umask((uint)mask);

    /// <summary>Raises the soft limit of open files to <paramref name="wanted"/> or the hard limit, whichever is lower; never lowers it.</summary>
    /// <returns>The limit now in force.</returns>
    /// <exception cref="Win32Exception">The kernel refused.</exception>
    public static long RaiseOpenFiles(long wanted = long.MaxValue)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(wanted);
        ResourceLimit limit;
        LinuxError.Check(GetLimit(OpenFiles, &limit), "getrlimit(RLIMIT_NOFILE)");
        var target = Math.Min((ulong)wanted, limit.Hard);
        if (target > limit.Soft)
        {
            limit.Soft = target;
            LinuxError.Check(SetLimit(OpenFiles, &limit), $"setrlimit(RLIMIT_NOFILE, {target})");
        }

        return (long)Math.Min(limit.Soft, long.MaxValue);
    }

    /// <summary>Raises the limit of memory that is never moved or paged out to at least <paramref name="wanted"/> bytes, the hard limit too; never lowers it.</summary>
    /// <returns>False when it is lower and may not be raised, which takes CAP_SYS_RESOURCE.</returns>
    public static bool TryRaiseLockedMemory(long wanted)
    {
        ResourceLimit limit;
        LinuxError.Check(GetLimit(LockedMemory, &limit), "getrlimit(RLIMIT_MEMLOCK)");
        var target = new ResourceLimit { Soft = Math.Max(limit.Soft, (ulong)wanted), Hard = Math.Max(limit.Hard, (ulong)wanted) };
        return limit.Soft >= (ulong)wanted || SetLimit(LockedMemory, &target) == 0;
    }

    [LibraryImport("libc", EntryPoint = "umask")]
    private static partial uint Umask(uint mask);

    [LibraryImport("libc", EntryPoint = "getrlimit", SetLastError = true)]
    private static partial int GetLimit(int resource, ResourceLimit* limit);

    [LibraryImport("libc", EntryPoint = "setrlimit", SetLastError = true)]
    private static partial int SetLimit(int resource, ResourceLimit* limit);

    /// <summary>The kernel's <c>struct rlimit</c>, 16 bytes on 64-bit Linux.</summary>
    [StructLayout(LayoutKind.Sequential, Size = 16)]
    internal struct ResourceLimit
    {
        public ulong Soft;
        public ulong Hard;
    }
}
