using System.Diagnostics.CodeAnalysis;
using System.Net;
using System.Net.Sockets;
using System.Threading.Channels;
using Microsoft.AspNetCore.Connections;

namespace Volant.Agent.Transport;

/// <summary>An end point of the HTTP server that connections are pushed into, wherever they come from.</summary>
internal sealed class StreamEndPoint(string name) : EndPoint
{
    private const int Backlog = 128;

    // Full means that the server does not accept: refusing is better than piling up.
    private readonly Channel<StreamConnection> _incoming = Channel.CreateBounded<StreamConnection>(Backlog);

    /// <summary>Connections that wait for the server.</summary>
    public ChannelReader<StreamConnection> Incoming => _incoming.Reader;

    /// <summary>Hands a connection to the server; closes it when the server does not take it.</summary>
    public void Push(StreamConnection connection)
    {
        if (!_incoming.Writer.TryWrite(connection))
        {
            connection.Abort(new ConnectionAbortedException($"{name}: too many connections wait to be accepted."));
        }
    }

    /// <summary>None. The server asks for it as soon as anybody listens to its metrics, and stops to accept when that throws.</summary>
    public override AddressFamily AddressFamily => AddressFamily.Unspecified;

    /// <inheritdoc/>
    public override string ToString() => name;
}

/// <summary>Transport of the HTTP server: listens on <see cref="StreamEndPoint"/> and on nothing else.</summary>
internal sealed class StreamListenerFactory : IConnectionListenerFactory, IConnectionListenerFactorySelector
{
    /// <inheritdoc/>
    public bool CanBind(EndPoint endpoint) => endpoint is StreamEndPoint;

    /// <inheritdoc/>
    public ValueTask<IConnectionListener> BindAsync(EndPoint endpoint, CancellationToken cancellationToken = default) =>
        new(new Listener((StreamEndPoint)endpoint));

    [SuppressMessage("Reliability", "CA2213", Justification = "It has no timer, so nothing to free, and others may still ask it.")]
    private sealed class Listener(StreamEndPoint local) : IConnectionListener
    {
        private readonly CancellationTokenSource _stopped = new();

        public EndPoint EndPoint => local;

        public async ValueTask<ConnectionContext?> AcceptAsync(CancellationToken cancellationToken = default)
        {
            using var either = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, _stopped.Token);
            try
            {
                return await local.Incoming.ReadAsync(either.Token);
            }
            catch (OperationCanceledException)
            {
                return null;
            }
        }

        public async ValueTask UnbindAsync(CancellationToken cancellationToken = default) => await _stopped.CancelAsync();

        public ValueTask DisposeAsync() => UnbindAsync(CancellationToken.None);
    }
}
