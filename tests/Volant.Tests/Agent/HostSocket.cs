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

    private sealed class GuestEnd(Socket listener) : Volant.Linux.IO.AsyncOnlyStream
    {
        private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(1);

        // Only the reader accepts and lets go; the writer waits for whoever is there.
        private volatile TaskCompletionSource<Socket> _host = NewHost();
        private Socket? _live;

        public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            if (!_host.Task.IsCompleted)
            {
                _live = await listener.AcceptAsync(cancellationToken);
                _host.SetResult(_live);
            }

            var host = await _host.Task;
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

            _host = NewHost();
            host.Dispose();
            return 0;
        }

        public override async ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
        {
            while (!buffer.IsEmpty)
            {
                var host = await _host.Task.WaitAsync(cancellationToken);
                try
                {
                    buffer = buffer[await host.SendAsync(buffer, cancellationToken)..];
                }
                catch (Exception e) when (e is SocketException or ObjectDisposedException)
                {
                    // The host left: the rest waits for the next one, as soon as the reader has noticed.
                    await Task.Delay(Pause, TimeProvider.System, cancellationToken);
                }
            }
        }

        protected override void Dispose(bool disposing)
        {
            _live?.Dispose();
            base.Dispose(disposing);
        }

        private static TaskCompletionSource<Socket> NewHost() => new(TaskCreationOptions.RunContinuationsAsynchronously);
    }
}
