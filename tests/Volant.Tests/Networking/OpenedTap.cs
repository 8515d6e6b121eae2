using System.Runtime.InteropServices;
using System.Text;
using Microsoft.Win32.SafeHandles;

namespace Volant.Tests.Networking;

/// <summary>Holds a tap open as a hypervisor does.</summary>
internal static class OpenedTap
{
    private const int Busy = 16; // EBUSY

    [UnmanagedFunctionPointer(CallingConvention.Cdecl, SetLastError = true)]
    private delegate int ControlCall(int fd, nuint request, byte[] argument);

    private static readonly ControlCall Control = Marshal.GetDelegateForFunctionPointer<ControlCall>(
        NativeLibrary.GetExport(NativeLibrary.Load("libc.so.6"), "ioctl"));

    /// <summary>Opens the existing tap of that name in this thread's network namespace.</summary>
    public static SafeFileHandle Open(string name)
    {
        var tun = File.OpenHandle("/dev/net/tun", FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite);
        var request = new byte[40];
        Encoding.ASCII.GetBytes(name, request);
        request[16] = 0x02;
        request[17] = 0x50;

        // A process that another test is just starting holds a copy of the descriptor that made the tap, until it has become its program.
        var started = TimeProvider.System.GetTimestamp();
        int error;
        while ((error = Control((int)tun.DangerousGetHandle(), 0x400454ca, request) == 0 ? 0 : Marshal.GetLastPInvokeError()) == Busy
            && TimeProvider.System.GetElapsedTime(started).TotalSeconds < 20)
        {
            Thread.Yield();
        }

        Assert.Equal(0, error);
        return tun;
    }
}
