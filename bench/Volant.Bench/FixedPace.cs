using System.Globalization;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using System.Text;

namespace Volant.Bench;

/// <summary>A load generator that does not wait for slow answers: every request has a time at which it is due, and is measured from then.</summary>
/// <remarks>
/// Threads that take turns, each with a connection and blocking calls: the least that stands between the kernel and the clock. A request that is
/// late because its thread still waits for an answer counts as late. Nothing spins, which on two processors would take one from the daemon.
/// </remarks>
internal static partial class FixedPace
{
    private const int Threads = 8;
    private const int WarmUpSeconds = 2;

    private static readonly byte[] EndOfHead = "\r\n\r\n"u8.ToArray();
    private static readonly byte[] LastChunk = "0\r\n\r\n"u8.ToArray();

    /// <summary>Milliseconds of every request from the time that it was due until its answer was read; those of two seconds before do not count.</summary>
    /// <param name="clock">Measures.</param>
    /// <param name="socket">Path of the daemon's socket.</param>
    /// <param name="perSecond">Requests a second.</param>
    /// <param name="seconds">How long.</param>
    /// <param name="path">Path of the n-th request.</param>
    /// <exception cref="IOException">An answer is not 200.</exception>
    public static async Task<IReadOnlyList<double>> MeasureAsync(TimeProvider clock, string socket, int perSecond, int seconds, Func<int, string> path)
    {
        var count = perSecond * (WarmUpSeconds + seconds);
        var times = new double[count];
        var started = clock.GetTimestamp();
        await Task.WhenAll(Enumerable.Range(0, Threads).Select(first => Task.Factory.StartNew(() => Run(first), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default)));
        return times[(perSecond * WarmUpSeconds)..];

        void Run(int first)
        {
            using var connection = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            connection.Connect(new UnixDomainSocketEndPoint(socket));
            var buffer = new byte[1 << 20];
            for (var i = first; i < count; i += Threads)
            {
                var request = Encoding.ASCII.GetBytes($"GET {path(i)} HTTP/1.1\r\nHost: localhost\r\n\r\n");
                var due = TimeSpan.FromSeconds((double)i / perSecond);
                Sleep(due - clock.GetElapsedTime(started));
                connection.Send(request);
                Receive(connection, buffer, path(i));
                times[i] = (clock.GetElapsedTime(started) - due).TotalMilliseconds;
            }
        }
    }

    /// <summary>Reads one answer (RFC 9112, sections 6 and 7.1): its length is told, or it comes in chunks.</summary>
    private static void Receive(Socket connection, byte[] buffer, string path)
    {
        var (length, head, whole) = (0, -1, int.MaxValue);
        while (length < whole)
        {
            var read = connection.Receive(buffer.AsSpan(length));
            if (read == 0)
            {
                throw new IOException($"GET {path}: the daemon closed the connection.");
            }

            length += read;
            if (head < 0 && (head = buffer.AsSpan(0, length).IndexOf(EndOfHead)) >= 0)
            {
                var fields = Encoding.ASCII.GetString(buffer, 0, head).Split("\r\n");
                if (!fields[0].StartsWith("HTTP/1.1 200", StringComparison.Ordinal))
                {
                    throw new IOException($"GET {path}: {fields[0]}");
                }

                if (fields.FirstOrDefault(field => field.StartsWith("Content-Length: ", StringComparison.OrdinalIgnoreCase)) is { } field)
                {
                    whole = head + EndOfHead.Length + int.Parse(field.AsSpan("Content-Length: ".Length), CultureInfo.InvariantCulture);
                }
            }

            if (head >= 0 && whole == int.MaxValue && buffer.AsSpan(0, length).EndsWith(LastChunk))
            {
                return;
            }
        }
    }

    /// <summary>Sleeps without the rounding to milliseconds of the runtime's own timers (nanosleep(2)).</summary>
    private static void Sleep(TimeSpan time)
    {
        if (time > TimeSpan.Zero)
        {
            _ = NanoSleep([(long)time.TotalSeconds, time.Ticks % TimeSpan.TicksPerSecond * 100], 0);
        }
    }

    [LibraryImport("libc", EntryPoint = "nanosleep")]
    private static partial int NanoSleep([In] long[] time, nint rest);
}
