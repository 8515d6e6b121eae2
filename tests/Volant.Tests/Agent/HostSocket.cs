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
        private Task<Socket>? _accepting;
        private Socket? _host;

        public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            var host = _host ??= await AcceptAsync(cancellationToken);
            try
            {
                var count = await host.ReceiveAsync(buffer, cancellationToken);
                if (count > 0)
                {
                    return count;
                }
            }
            catch (SocketException)
            {
                // Left with unread bytes: the same to the guest.
            }

            _host = null;
            host.Dispose();
            return 0;
        }

        public override async ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
        {
            while (!buffer.IsEmpty)
            {
                try
                {
                    var host = _host ?? await AcceptAsync(cancellationToken);
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

        private Task<Socket> AcceptAsync(CancellationToken cancellationToken)
        {
            if (_accepting is null || _accepting.IsCompleted)
            {
                _accepting = listener.AcceptAsync(CancellationToken.None).AsTask();
            }

            return _accepting.WaitAsync(cancellationToken);
        }
    }
}
