using System.ComponentModel;
using System.Net;
using System.Net.Sockets;
using Volant.Contracts.Boot;
using Volant.Linux.Networking;

namespace Volant.Agent.Transport;

/// <summary>Brings connections from the virtio-serial port, from vsock and, where the boot asks for it, from TCP to the HTTP server.</summary>
/// <param name="http2">Takes connections that speak HTTP/2 with prior knowledge.</param>
/// <param name="http1">Takes connections that speak HTTP/1.1.</param>
/// <param name="console">Where troubles are told.</param>
/// <param name="clock">Clock of the waits.</param>
internal sealed class Listeners(StreamEndPoint http2, StreamEndPoint http1, ConsoleLog console, TimeProvider clock)
{
    private const int TcpBacklog = 128;

    private static readonly TimeSpan DeviceWait = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan DevicePoll = TimeSpan.FromMilliseconds(5);
    private static readonly TimeSpan Pause = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan FirstBytesTimeout = TimeSpan.FromSeconds(30);

    /// <summary>Serves the virtio-serial port; returns when the guest has none.</summary>
    public async Task ServeSerialAsync(CancellationToken cancellationToken)
    {
        if (!await AppearsAsync(() => VirtioPort.Find() is not null, clock, cancellationToken))
        {
            console.Say($"There is no virtio-serial port named {GuestLink.PortName}.");
            return;
        }

        while (true)
        {
            try
            {
                if (VirtioPort.Find() is { } device)
                {
                    await using var port = VirtioPort.Open(device);
                    var link = new SerialLink(port, stream => http2.Push(new StreamConnection(stream, http2) { IsHostChannel = true }), clock);
                    await link.RunAsync(cancellationToken);
                }
            }
            catch (Exception e) when (e is IOException or Win32Exception)
            {
                console.Say($"The virtio-serial port failed and is opened again: {e.Message}.");
            }

            await Task.Delay(Pause, clock, cancellationToken);
        }
    }

    /// <summary>Serves vsock; returns when the guest has none.</summary>
    public async Task ServeVsockAsync(CancellationToken cancellationToken)
    {
        if (!await AppearsAsync(() => File.Exists("/dev/vsock"), clock, cancellationToken))
        {
            return;
        }

        try
        {
            using var listener = VsockSocket.Listen(GuestLink.VsockPort);
            while (await listener.AcceptAsync(cancellationToken) is { } accepted)
            {
                // A program in the guest reaches the port by its own address, or by that of the loopback.
                http2.Push(new StreamConnection(accepted.Stream, http2) { IsHostChannel = accepted.PeerCid == VsockSocket.HostCid });
            }
        }
        catch (Win32Exception e)
        {
            console.Say($"The agent does not listen on vsock port {GuestLink.VsockPort}: {e.Message}.");
        }
    }

    /// <summary>Serves TCP.</summary>
    public async Task ServeTcpAsync(IPEndPoint local, CancellationToken cancellationToken)
    {
        try
        {
            using var listener = new Socket(local.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
            listener.Bind(local);
            listener.Listen(TcpBacklog);
            while (true)
            {
                try
                {
                    var accepted = await listener.AcceptAsync(cancellationToken);
                    accepted.NoDelay = true;
                    _ = SortAsync(new StreamConnection(new NetworkStream(accepted, ownsSocket: true), local) { HasInherentKeepAlive = false }, cancellationToken);
                }
                catch (SocketException e) when (e.SocketErrorCode is SocketError.ConnectionAborted or SocketError.ConnectionReset or SocketError.TooManyOpenSockets)
                {
                    await Task.Delay(DevicePoll, clock, cancellationToken);
                }
            }
        }
        catch (SocketException e)
        {
            console.Say($"The agent does not listen on {local} (volant.api_host, volant.api_port): {e.Message}.");
        }
    }

    /// <summary>Waits for what a driver makes a little later than the boot, at most <see cref="DeviceWait"/>; looks ever more seldom, for most guests have only one of the channels.</summary>
    internal static async Task<bool> AppearsAsync(Func<bool> isThere, TimeProvider clock, CancellationToken cancellationToken)
    {
        var start = clock.GetTimestamp();
        while (!isThere())
        {
            var waited = clock.GetElapsedTime(start);
            if (waited > DeviceWait)
            {
                return false;
            }

            // A tenth of the time that has passed.
            await Task.Delay(waited / 10 < DevicePoll ? DevicePoll : waited / 10, clock, cancellationToken);
        }

        return true;
    }

    /// <summary>Both protocols share the port: HTTP/2 with prior knowledge begins with a word that no HTTP/1.1 method is (RFC 9113 §3.4).</summary>
    private async Task SortAsync(StreamConnection connection, CancellationToken cancellationToken)
    {
        using var limit = new CancellationTokenSource(FirstBytesTimeout, clock);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(limit.Token, cancellationToken);
        try
        {
            while (true)
            {
                var read = await connection.Transport.Input.ReadAsync(either.Token);
                var verdict = IsHttp2(read.Buffer);
                connection.Transport.Input.AdvanceTo(read.Buffer.Start, verdict is null ? read.Buffer.End : read.Buffer.Start);
                if (verdict is null && !read.IsCompleted)
                {
                    continue;
                }

                (verdict is true ? http2 : http1).Push(connection);
                return;
            }
        }
        catch (Exception e) when (e is IOException or OperationCanceledException)
        {
            await connection.DisposeAsync();
        }
    }

    private static bool? IsHttp2(System.Buffers.ReadOnlySequence<byte> bytes)
    {
        var preface = "PRI * HTTP/2.0\r\n"u8;
        Span<byte> first = stackalloc byte[16];
        var length = (int)Math.Min(bytes.Length, first.Length);
        System.Buffers.BuffersExtensions.CopyTo(bytes.Slice(0, length), first);
        return !preface.StartsWith(first[..length]) ? false : length == preface.Length ? true : null;
    }
}
