using System.ComponentModel;
using System.Runtime.InteropServices;

namespace Volant.Linux.Kernel;

/// <summary>The wall clock of this machine.</summary>
public static unsafe partial class SystemClock
{
    private const int RealTime = 0; // CLOCK_REALTIME

    /// <summary>Sets the clock.</summary>
    /// <exception cref="Win32Exception">EPERM: needs CAP_SYS_TIME; EINVAL: before 1970.</exception>
    public static void Set(DateTimeOffset time)
    {
        var value = ToTimeSpec(time);
        LinuxError.Check(SetTime(RealTime, &value), $"Setting the clock to {time:O}");
    }

    internal static TimeSpec ToTimeSpec(DateTimeOffset time)
    {
        var (seconds, ticks) = Math.DivRem(time.UtcTicks - DateTimeOffset.UnixEpoch.Ticks, TimeSpan.TicksPerSecond);
        return ticks < 0
            ? new TimeSpec { Seconds = seconds - 1, Nanoseconds = (ticks + TimeSpan.TicksPerSecond) * TimeSpan.NanosecondsPerTick }
            : new TimeSpec { Seconds = seconds, Nanoseconds = ticks * TimeSpan.NanosecondsPerTick };
    }

    [LibraryImport("libc", EntryPoint = "clock_settime", SetLastError = true)]
    private static partial int SetTime(int clock, TimeSpec* time);

    /// <summary>The kernel's <c>struct timespec</c>, 16 bytes on 64-bit Linux.</summary>
    [StructLayout(LayoutKind.Sequential, Size = 16)]
    internal struct TimeSpec
    {
        public long Seconds;
        public long Nanoseconds;
    }
}
