using System.Net;
using System.Net.Sockets;
using System.Text;

namespace Volant.Tests.Publishing;

/// <summary>Stands in for a workload: on one port of loopback it sends back what comes by TCP and UDP, behind its name.</summary>
internal sealed class EchoServer : IAsyncDisposable
{
    private readonly CancellationTokenSource _stop = new();
    private readonly Socket _tcp;
    private readonly Socket _udp;
    private readonly string _name;
    private readonly Task _running;
    private int _accepted;
    private bool _disposed;

    /// <param name="name">First bytes of every connection and of every datagram.</param>
    public EchoServer(string name = "")
    {
        _name = name;
        (_tcp, _udp) = Bind();
        EndPoint = (IPEndPoint)_udp.LocalEndPoint!;
        _running = Task.WhenAll(AcceptAsync(), AnswerAsync());
    }

    public IPEndPoint EndPoint { get; }

    /// <summary>Connections that were accepted.</summary>
    public int Accepted => Volatile.Read(ref _accepted);

    public async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _disposed, true))
        {
            return;
        }

        await _stop.CancelAsync();
        // A child of another test that is being started may have the socket too.
        _tcp.Shutdown(SocketShutdown.Both);
        _tcp.Dispose();
        _udp.Dispose();
        await _running;
        _stop.Dispose();
    }

    /// <summary>One number for both protocols; what is free for one may be taken for the other.</summary>
    private static (Socket Tcp, Socket Udp) Bind()
    {
        while (true)
        {
            var tcp = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
            var udp = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
            try
            {
                tcp.Bind(new IPEndPoint(IPAddress.Loopback, 0));
                tcp.Listen(512);
                udp.Bind(tcp.LocalEndPoint!);
                return (tcp, udp);
            }
            catch (SocketException e) when (e.SocketErrorCode == SocketError.AddressAlreadyInUse)
            {
                tcp.Dispose();
                udp.Dispose();
            }
        }
    }

    private async Task AcceptAsync()
    {
        try
        {
            while (true)
            {
                _ = EchoAsync(await _tcp.AcceptAsync(_stop.Token));
            }
        }
        catch (Exception e) when (e is OperationCanceledException or SocketException or ObjectDisposedException)
        {
            // The end.
        }
    }

    private async Task EchoAsync(Socket client)
    {
        Interlocked.Increment(ref _accepted);
        using (client)
        {
            try
            {
                await client.SendAsync(Encoding.ASCII.GetBytes(_name), _stop.Token);
                var buffer = new byte[64 * 1024];
                while (await client.ReceiveAsync(buffer, _stop.Token) is > 0 and var count)
                {
                    await client.SendAsync(buffer.AsMemory(0, count), _stop.Token);
                }

                // After the end of the other direction, this one goes on.
                await client.SendAsync("bye"u8.ToArray(), _stop.Token);
                client.Shutdown(SocketShutdown.Send);
            }
            catch (Exception e) when (e is OperationCanceledException or SocketException)
            {
                // The client went away.
            }
        }
    }

    private async Task AnswerAsync()
    {
        var buffer = new byte[64 * 1024];
        try
        {
            while (true)
            {
                var received = await _udp.ReceiveFromAsync(buffer, new IPEndPoint(IPAddress.Any, 0), _stop.Token);
                await _udp.SendToAsync(Encoding.ASCII.GetBytes(_name).Concat(buffer[..received.ReceivedBytes]).ToArray(), received.RemoteEndPoint, _stop.Token);
            }
        }
        catch (Exception e) when (e is OperationCanceledException or SocketException or ObjectDisposedException)
        {
            // The end.
        }
    }
}
