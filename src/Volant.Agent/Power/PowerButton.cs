using System.Buffers.Binary;
using System.ComponentModel;
using Volant.Linux.IO;

namespace Volant.Agent.Power;

/// <summary>Watches the ACPI power button, which a hypervisor presses for an orderly shutdown.</summary>
/// <remarks>Source: Linux, include/uapi/linux/input.h; <c>struct input_event</c> has 24 bytes on 64-bit kernels.</remarks>
internal sealed class PowerButton(TimeProvider clock)
{
    private const int EventSize = 24;
    private const int TypeOffset = 16;
    private const int CodeOffset = 18;
    private const int ValueOffset = 20;
    private const ushort KeyType = 1; // EV_KEY
    private const ushort PowerKey = 116; // KEY_POWER
    private const int Pressed = 1;

    private static readonly TimeSpan FirstPause = TimeSpan.FromMilliseconds(20);
    private static readonly TimeSpan LongestPause = TimeSpan.FromSeconds(5);

    /// <summary>Calls <paramref name="pressed"/> at each press; looks for input devices during the first ten seconds, ever more seldom.</summary>
    /// <remarks>A machine may have several power buttons, so every device is opened.</remarks>
    public async Task WatchAsync(Action pressed, CancellationToken cancellationToken)
    {
        var opened = new HashSet<string>(StringComparer.Ordinal);
        for (var pause = FirstPause; pause <= LongestPause; pause *= 2)
        {
            foreach (var device in Devices())
            {
                if (opened.Add(device))
                {
                    _ = WatchAsync(device, pressed, cancellationToken);
                }
            }

            await Task.Delay(pause, clock, cancellationToken);
        }
    }

    /// <summary>Whether a run of input events holds a press of the power key.</summary>
    internal static bool IsPress(ReadOnlySpan<byte> events)
    {
        for (; events.Length >= EventSize; events = events[EventSize..])
        {
            if (BinaryPrimitives.ReadUInt16LittleEndian(events[TypeOffset..]) == KeyType &&
                BinaryPrimitives.ReadUInt16LittleEndian(events[CodeOffset..]) == PowerKey &&
                BinaryPrimitives.ReadInt32LittleEndian(events[ValueOffset..]) == Pressed)
            {
                return true;
            }
        }

        return false;
    }

    private static IEnumerable<string> Devices() =>
        Directory.Exists("/dev/input") ? Directory.EnumerateFiles("/dev/input", "event*") : [];

    private static async Task WatchAsync(string device, Action pressed, CancellationToken cancellationToken)
    {
        try
        {
            await using var stream = FdStream.OpenDevice(device);
            var buffer = new byte[EventSize * 16];
            while (true)
            {
                var count = await stream.ReadAsync(buffer, cancellationToken);
                if (count <= 0)
                {
                    return;
                }

                if (IsPress(buffer.AsSpan(0, count)))
                {
                    pressed();
                }
            }
        }
        catch (Exception e) when (e is IOException or Win32Exception or OperationCanceledException)
        {
            // Unplugged, or not ours to read: the guest can still be stopped through the agent.
        }
    }
}
