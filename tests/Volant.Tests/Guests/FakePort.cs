using System.Net.Sockets;
using Volant.Contracts.Boot;

namespace Volant.Tests.Guests;

/// <summary>A virtio-serial port with a guest behind it: the hypervisor's socket and the guest's side of the handshake.</summary>
/// <remarks>
/// Written from the summary of <see cref="GuestLink"/> alone, on purpose. As with the real thing, one client is served at a time, the
/// guest does not see clients come and go, and what it wrote while nobody was there reaches the next client.
/// </remarks>
internal sealed class FakePort : IAsyncDisposable
{
    private const int MaxStale = 64 * 1024;

    private readonly string _server;
    private readonly Socket _listener = NewSocket();
    private readonly CancellationTokenSource _stop = new();
    private readonly SemaphoreSlim _writing = new(1, 1);
    private readonly List<byte> _stale = [];
    private readonly Task _running;
    private byte[]? _key;
    private byte[] _seen = [];
    private Socket? _client;
    private Guest? _guest;

    /// <summary>Makes the port.</summary>
    /// <param name="path">The hypervisor's socket.</param>
    /// <param name="server">Socket of the server in the guest.</param>
    public FakePort(string path, string server)
    {
        _server = server;
        _listener.Bind(new UnixDomainSocketEndPoint(path));
        _listener.Listen();
        _running = RunAsync();
    }

    /// <summary>Connections that the host opened and the guest accepted.</summary>
    public int Connections { get; private set; }

    /// <summary>Bytes that lay around for the client before.</summary>
    public int StaleBytes { get; private set; }

    /// <summary>The guest closes its connection, as a server does that ends.</summary>
    public void CloseInGuest() => _guest?.Socket.Dispose();

    /// <summary>The guest's agent starts anew and knows nothing of before.</summary>
    public void RestartGuest()
    {
        _guest?.Abandon();
        _guest = null;
        _key = null;
        _seen = [];
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        _listener.Dispose();
        _client?.Dispose();
        _guest?.Abandon();
        await _running;
        _stop.Dispose();
        _writing.Dispose();
    }

    private static Socket NewSocket() => new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);

    private async Task RunAsync()
    {
        var buffer = new byte[64 * 1024];
        while (!_stop.IsCancellationRequested)
        {
            try
            {
                using var client = await _listener.AcceptAsync(_stop.Token);
                await AttachAsync(client);
                while (await client.ReceiveAsync(buffer, SocketFlags.None, _stop.Token) is > 0 and var count)
                {
                    await ReceiveAsync(buffer[..count]);
                }
            }
            catch (Exception e) when (e is SocketException or OperationCanceledException or ObjectDisposedException)
            {
                // The client or the test is over.
            }

            _client = null;
        }
    }

    private async Task AttachAsync(Socket client)
    {
        await _writing.WaitAsync(_stop.Token);
        try
        {
            StaleBytes = _stale.Count;
            await client.SendAsync(_stale.ToArray(), SocketFlags.None, _stop.Token);
            _stale.Clear();
            _client = client;
        }
        finally
        {
            _writing.Release();
        }
    }

    /// <summary>Bytes that arrive in the guest: looks for an opening, and gives the rest to the connection.</summary>
    private async Task ReceiveAsync(byte[] bytes)
    {
        // Everything is passed on at once and remembered for the search; an opening that was passed on ends that connection anyway.
        _seen = [.. _seen, .. bytes];
        if (Opening() is not var (at, key) || _seen.Length < at + GuestLink.EchoLength)
        {
            await PassOnAsync(bytes);
            _seen = _seen[^Math.Min(_seen.Length, 4 * GuestLink.HelloLength)..];
            return;
        }

        var echo = _seen[at..(at + GuestLink.EchoLength)];
        var rest = _seen[(at + GuestLink.EchoLength)..];
        _key = key;
        _seen = [];
        _guest?.Abandon();
        await SendAsync(echo);
        var socket = NewSocket();
        await socket.ConnectAsync(new UnixDomainSocketEndPoint(_server), _stop.Token);
        Connections++;
        _guest = new Guest(this, socket, GuestLink.Goodbye(echo));
        if (rest.Length > 0)
        {
            await ReceiveAsync(rest);
        }
    }

    private async Task PassOnAsync(byte[] bytes)
    {
        if (_guest is not { } guest)
        {
            return;
        }

        try
        {
            await guest.Socket.SendAsync(bytes, SocketFlags.None, _stop.Token);
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // Closed in the guest; the port does not know.
        }
    }

    /// <summary>Where <c>KEY NONCE</c> starts, and the key.</summary>
    private (int At, byte[] Key)? Opening()
    {
        if (_key is not null)
        {
            return _seen.AsSpan().IndexOf(_key) is >= 0 and var at ? (at, _key) : null;
        }

        var magic = _seen.AsSpan().IndexOf(GuestLink.Magic);
        var start = magic + GuestLink.KeyLength;
        return magic >= 0 && _seen.Length >= start + GuestLink.KeyLength ? (start, _seen[start..(start + GuestLink.KeyLength)]) : null;
    }

    private async Task SendAsync(ReadOnlyMemory<byte> bytes)
    {
        await _writing.WaitAsync(_stop.Token);
        try
        {
            if (_client is { } client)
            {
                try
                {
                    while (bytes.Length > 0)
                    {
                        bytes = bytes[await client.SendAsync(bytes, SocketFlags.None, _stop.Token)..];
                    }
                }
                catch (Exception e) when (e is SocketException or ObjectDisposedException)
                {
                    // The host has gone; the rest waits for the next client.
                }
            }

            if (_stale.Count < MaxStale)
            {
                _stale.AddRange(bytes.Span);
            }
        }
        finally
        {
            _writing.Release();
        }
    }

    /// <summary>One connection in the guest, from the port to the server.</summary>
    private sealed class Guest
    {
        private readonly FakePort _port;
        private readonly byte[] _goodbye;
        private volatile bool _abandoned;

        public Guest(FakePort port, Socket socket, byte[] goodbye)
        {
            _port = port;
            Socket = socket;
            _goodbye = goodbye;
            _ = PumpAsync();
        }

        public Socket Socket { get; }

        /// <summary>Ends it without a goodbye: the host has opened another one, or the guest died.</summary>
        public void Abandon()
        {
            _abandoned = true;
            Socket.Dispose();
        }

        private async Task PumpAsync()
        {
            var buffer = new byte[64 * 1024];
            try
            {
                try
                {
                    while (await Socket.ReceiveAsync(buffer, SocketFlags.None, _port._stop.Token) is > 0 and var count && !_abandoned)
                    {
                        await _port.SendAsync(buffer.AsMemory(0, count));
                    }
                }
                catch (Exception e) when (e is SocketException or ObjectDisposedException)
                {
                    // Closed in the guest.
                }

                if (!_abandoned)
                {
                    await _port.SendAsync(_goodbye);
                }
            }
            catch (Exception e) when (e is OperationCanceledException or ObjectDisposedException)
            {
                // The test is over.
            }
        }
    }
}
