using System.Net.Sockets;

namespace Volant.Tests.Agent;

/// <summary>A byte pipe whose host end can be left and taken again, as QEMU's character device can.</summary>
/// <remarks>The guest reads zero bytes while nobody is there, and bytes that it wrote before are delivered to the next host.</remarks>
internal sealed class HostSocket : IDisposable
{
    private readonly Socket _listener;
    private readonly string _path = Path.Combine(Path.GetTempPath(), $"volant-link-{Guid.NewGuid():N}.sock");

    public HostSocket()
    {
        _listener = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        _listener.Bind(new UnixDomainSocketEndPoint(_path));
        _listener.Listen(8);
        Guest = new GuestEnd(_listener);
    }

    /// <summary>The guest's device.</summary>
    public Stream Guest { get; }

    /// <summary>Connects as the host; disposing of the stream leaves.</summary>
    public async Task<NetworkStream> ConnectAsync(CancellationToken cancellationToken)
    {
        var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        await socket.ConnectAsync(new UnixDomainSocketEndPoint(_path), cancellationToken);
        return new NetworkStream(socket, ownsSocket: true);
    }

    public void Dispose()
    {
        Guest.Dispose();
        _listener.Dispose();
        File.Delete(_path);
    }

    private sealed class GuestEnd(Socket listener) : Volant.Agent.Transport.AsyncOnlyStream
    {
        private readonly Lock _gate = new();
        private Task<Socket>? _accepting;
        private Socket? _host;

        public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            var host = await AcceptAsync(cancellationToken);
            try
            {
                var count = await host.ReceiveAsync(buffer, cancellationToken);
                if (count > 0)
                {
                    return count;
                }
            }
            catch (Exception e) when (e is SocketException or ObjectDisposedException)
            {
                // Left with unread bytes: the same to the guest.
            }

            lock (_gate)
            {
                _host = _host == host ? null : _host;
            }

            host.Dispose();
            return 0;
        }

        public override async ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
        {
            while (!buffer.IsEmpty)
            {
                try
                {
                    var host = await AcceptAsync(cancellationToken);
                    buffer = buffer[await host.SendAsync(buffer, cancellationToken)..];
                }
                catch (Exception e) when (e is SocketException or ObjectDisposedException)
                {
                    // The host left: the rest waits for the next one.
                    await Task.Yield();
                }
            }
        }

        protected override void Dispose(bool disposing)
        {
            _host?.Dispose();
            base.Dispose(disposing);
        }

        /// <summary>The host that is there, or the next one; reader and writer get the same.</summary>
        private async Task<Socket> AcceptAsync(CancellationToken cancellationToken)
        {
            Task<Socket> accepting;
            lock (_gate)
            {
                if (_host is { } present)
                {
                    return present;
                }

                accepting = _accepting ??= listener.AcceptAsync(CancellationToken.None).AsTask();
            }

            var host = await accepting.WaitAsync(cancellationToken);
            lock (_gate)
            {
                if (_accepting == accepting)
                {
                    (_host, _accepting) = (host, null);
                }
            }

            return host;
        }
    }
}
