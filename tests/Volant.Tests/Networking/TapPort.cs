using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Volant.Tests.Networking;

/// <summary>The far end of a tap, as a hypervisor has it: whole frames in and out.</summary>
internal sealed class TapPort(string name) : IDisposable
{
    private const int HeaderLength = 10; // struct virtio_net_hdr
    private const int LimitMs = 20_000;

    private static readonly PollCall Poll = Import<PollCall>("poll");
    private static readonly ReadCall ReadFrame = Import<ReadCall>("read");
    private static readonly WriteCall WriteFrame = Import<WriteCall>("write");

    private readonly SafeFileHandle _tap = OpenedTap.Open(name);

    [UnmanagedFunctionPointer(CallingConvention.Cdecl, SetLastError = true)]
    private delegate int PollCall(int[] descriptor, nuint count, int timeout);

    [UnmanagedFunctionPointer(CallingConvention.Cdecl, SetLastError = true)]
    private delegate nint ReadCall(int descriptor, byte[] buffer, nuint length);

    [UnmanagedFunctionPointer(CallingConvention.Cdecl, SetLastError = true)]
    private delegate nint WriteCall(int descriptor, byte[] buffer, nuint length);

    private int Descriptor => (int)_tap.DangerousGetHandle();

    /// <summary>Name of the tap.</summary>
    public string Name => name;

    /// <summary>Sends a frame into the host. It has been through the bridge when this returns.</summary>
    public void Send(byte[] frame)
    {
        byte[] packet = [.. new byte[HeaderLength], .. frame];
        Assert.Equal(packet.Length, (int)WriteFrame(Descriptor, packet, (nuint)packet.Length));
    }

    /// <summary>The next frame that comes out of the host; null when there is none for so long.</summary>
    public byte[]? Receive(int milliseconds)
    {
        var buffer = new byte[2048];

        // struct pollfd: the descriptor, then POLLIN.
        return Poll([Descriptor, 1], 1, milliseconds) == 1 && ReadFrame(Descriptor, buffer, (nuint)buffer.Length) is > HeaderLength and var length
            ? buffer[HeaderLength..(int)length]
            : null;
    }

    /// <summary>All frames up to the one that is waited for, which must come.</summary>
    public IReadOnlyList<byte[]> ReceiveUntil(Func<byte[], bool> isLast)
    {
        List<byte[]> frames = [];
        while (Receive(LimitMs) is { } frame)
        {
            frames.Add(frame);
            if (isLast(frame))
            {
                return frames;
            }
        }

        Assert.Fail($"What was waited for did not come out of {name}; this did: {string.Join(", ", frames.Select(Convert.ToHexString))}");
        return frames;
    }

    public void Dispose() => _tap.Dispose();

    private static T Import<T>(string function)
        where T : Delegate => Marshal.GetDelegateForFunctionPointer<T>(NativeLibrary.GetExport(NativeLibrary.Load("libc.so.6"), function));
}
