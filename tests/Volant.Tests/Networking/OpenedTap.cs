using System.ComponentModel;
using Microsoft.Win32.SafeHandles;
using Volant.Linux;
using Volant.Linux.Networking;

namespace Volant.Tests.Networking;

/// <summary>Holds a tap open as a hypervisor does.</summary>
internal static class OpenedTap
{
    /// <summary>Opens the existing tap of that name in this thread's network namespace.</summary>
    public static SafeFileHandle Open(string name)
    {
        // A process that another test is just starting holds a copy of the descriptor that made the tap, until it has become its program.
        var started = TimeProvider.System.GetTimestamp();
        while (true)
        {
            try
            {
                return TapDevice.Open(name);
            }
            catch (Win32Exception e) when (e.NativeErrorCode == Errno.Busy && TimeProvider.System.GetElapsedTime(started).TotalSeconds < 20)
            {
                Thread.Yield();
            }
        }
    }
}
