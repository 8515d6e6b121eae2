using System.ComponentModel;
using System.Runtime.InteropServices;

namespace Volant.Linux;

/// <summary>Turns errno into an exception that names the object and the kernel's words.</summary>
internal static class LinuxError
{
    internal const int Eintr = 4;
    internal const int Echild = 10;
    internal const int Eagain = 11;

    /// <summary>The exception for the system call that has just failed on this thread.</summary>
    public static Win32Exception Last(string what) => Of(Marshal.GetLastPInvokeError(), what);

    public static Win32Exception Of(int errno, string what) =>
        new(errno, $"{what}: {Marshal.GetPInvokeErrorMessage(errno)} (errno {errno})");

    /// <summary>Returns <paramref name="result"/> unless it is negative.</summary>
    /// <exception cref="Win32Exception">The call failed.</exception>
    public static int Check(int result, string what) => result >= 0 ? result : throw Last(what);
}
