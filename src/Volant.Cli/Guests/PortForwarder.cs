using System.Globalization;
using System.Net;
using System.Net.Sockets;
using Volant.Cli.Api;
using Volant.Cli.Output;
using Volant.Contracts.Api;

namespace Volant.Cli.Guests;

/// <summary>A port of this machine that leads to one in a guest.</summary>
/// <param name="Local">Port here; 0 for any free one.</param>
/// <param name="Remote">Port in the guest.</param>
internal readonly record struct ForwardedPort(int Local, int Remote)
{
    /// <summary>Reads <c>LOCAL:REMOTE</c>, <c>:REMOTE</c> (any free port here) or <c>PORT</c> (the same on both sides); null when it is none.</summary>
    public static ForwardedPort? TryParse(string text)
    {
        var parts = text.Split(':');
        return parts switch
        {
            [var both] when Port(both) is { } port => new ForwardedPort(port, port),
            ["", var remote] when Port(remote) is { } port => new ForwardedPort(0, port),
            [var local, var remote] when Port(local) is { } here && Port(remote) is { } there => new ForwardedPort(here, there),
            _ => null,
        };
    }

    private static int? Port(string text) =>
        int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var port) && port is >= 1 and <= 65_535 ? port : null;
}

/// <summary>Listens on loopback and carries every connection through a tunnel of its own.</summary>
internal sealed class PortForwarder(VolantClient client, Talk talk, string name) : IDisposable
{
    /// <summary>Connections at a time; more wait in the kernel's queue.</summary>
    public const int MaxConnections = 256;

    private readonly List<(TcpListener Listener, int Remote)> _listeners = [];
    private readonly SemaphoreSlim _free = new(MaxConnections);

    /// <summary>Starts to listen.</summary>
    /// <returns>The port here.</returns>
    /// <exception cref="CliException">The port is taken or not allowed.</exception>
    public int Listen(IPAddress address, ForwardedPort port)
    {
        var listener = new TcpListener(address, port.Local);
        try
        {
            listener.Start();
        }
        catch (SocketException e)
        {
            listener.Dispose();
            throw CliException.Failed(
                string.Create(CultureInfo.InvariantCulture, $"Port {port.Local} of {address} cannot be listened on: {e.Message}. Name another one, or ':{port.Remote}' for any free one."), e);
        }

        _listeners.Add((listener, port.Remote));
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }

    /// <summary>Serves connections until cancelled.</summary>
    public Task RunAsync(CancellationToken cancellationToken) => Task.WhenAll(_listeners.Select(each => AcceptAsync(each.Listener, each.Remote, cancellationToken)));

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var (listener, _) in _listeners)
        {
            listener.Dispose();
        }

        _free.Dispose();
    }

    private async Task AcceptAsync(TcpListener listener, int remote, CancellationToken cancellationToken)
    {
        var served = new List<Task>();
        try
        {
            while (true)
            {
                await _free.WaitAsync(cancellationToken);
                served.RemoveAll(task => task.IsCompleted);
                served.Add(ServeAsync(await listener.AcceptSocketAsync(cancellationToken), remote, cancellationToken));
            }
        }
        finally
        {
            await Task.WhenAll(served);
        }
    }

    private async Task ServeAsync(Socket socket, int remote, CancellationToken cancellationToken)
    {
        try
        {
            socket.NoDelay = true;
            await using var stream = new NetworkStream(socket, ownsSocket: true);
            await using var tunnel = await client.OpenTunnelAsync(name, remote, cancellationToken);
            using var over = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
            var up = EndingAsync(UpAsync(stream, tunnel, over.Token), over);
            var down = EndingAsync(DownAsync(socket, stream, tunnel, over.Token), over);
            await Task.WhenAll(up, down);
        }
        catch (CliException e)
        {
            talk.Warn(string.Create(CultureInfo.InvariantCulture, $"A connection to port {remote} failed: {e.Message}"));
        }
        catch (Exception e) when (e is IOException or SocketException or OperationCanceledException or ObjectDisposedException)
        {
            // The program at this end is gone, or the user has had enough.
        }
        finally
        {
            socket.Dispose();
            _free.Release();
        }
    }

    /// <summary>A direction that breaks ends the other one; one that ends properly does not.</summary>
    private static async Task EndingAsync(Task direction, CancellationTokenSource over)
    {
        try
        {
            await direction;
        }
        catch
        {
            await over.CancelAsync();
            throw;
        }
    }

    private static async Task UpAsync(NetworkStream stream, WebSocketConnection tunnel, CancellationToken cancellationToken)
    {
        var buffer = new byte[TunnelRules.MaxFrameBytes / 2];
        int read;
        do
        {
            // A message without bytes is the end of this direction.
            read = await stream.ReadAsync(buffer, cancellationToken);
            await tunnel.SendAsync(buffer.AsMemory(0, read), cancellationToken);
        }
        while (read > 0);
    }

    private static async Task DownAsync(Socket socket, NetworkStream stream, WebSocketConnection tunnel, CancellationToken cancellationToken)
    {
        var ended = false;
        while (await tunnel.ReceiveAsync(cancellationToken) is { } message)
        {
            if (message.Bytes.IsEmpty && !ended)
            {
                ended = true;
                socket.Shutdown(SocketShutdown.Send);
            }
            else
            {
                await stream.WriteAsync(message.Bytes, cancellationToken);
            }
        }

        // Without a proper end the guest's side broke: the program here must not take it for one.
        if (!ended)
        {
            socket.LingerState = new LingerOption(enable: true, seconds: 0);
            throw new IOException("the tunnel broke");
        }
    }
}
