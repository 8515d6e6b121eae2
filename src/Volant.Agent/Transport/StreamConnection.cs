using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.IO.Pipelines;
using System.Net;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Connections.Features;
using Volant.Linux.IO;

namespace Volant.Agent.Transport;

/// <summary>A connection of the HTTP server over any duplex stream, which it owns.</summary>
/// <remarks>
/// As the server's own transports do, a write to a peer that is gone ends the connection instead of throwing (each throw would be
/// logged as an error of the server), and a failed read is a <see cref="ConnectionResetException"/>.
/// </remarks>
internal sealed class StreamConnection : DefaultConnectionContext, IConnectionInherentKeepAliveFeature
{
    private const int ReadSize = 32 * 1024;

    private static long s_lastId;

    private readonly Stream _stream;
    [SuppressMessage("Reliability", "CA2213", Justification = "It has no timer, so nothing to free, and others may still ask it.")]
    private readonly CancellationTokenSource _closed = new();
    private int _done;

    public StreamConnection(Stream stream, EndPoint local)
        : base(Interlocked.Increment(ref s_lastId).ToString(CultureInfo.InvariantCulture))
    {
        _stream = stream;
        LocalEndPoint = local;
        ConnectionClosed = _closed.Token;
        var quiet = new QuietStream(this, stream);
        Transport = new Duplex(
            PipeReader.Create(quiet, new StreamPipeReaderOptions(bufferSize: ReadSize, leaveOpen: true)),
            PipeWriter.Create(quiet, new StreamPipeWriterOptions(leaveOpen: true)));
        Features.Set<IConnectionInherentKeepAliveFeature>(this);
    }

    /// <summary>A point-to-point link has no idle time-out.</summary>
    public bool HasInherentKeepAlive { get; init; } = true;

    /// <summary>Whether the host is at the other end, and nobody else can be.</summary>
    public bool IsHostChannel
    {
        init => Features.Set(value ? new HostChannel() : null);
    }

    /// <inheritdoc/>
    public override void Abort(ConnectionAbortedException abortReason) => Close();

    /// <inheritdoc/>
    public override ValueTask DisposeAsync()
    {
        Close();
        return base.DisposeAsync();
    }

    private void Close()
    {
        if (Interlocked.Exchange(ref _done, 1) != 0)
        {
            return;
        }

        _stream.Dispose();

        // Not here: the server's callbacks may take locks that the caller holds.
        ThreadPool.UnsafeQueueUserWorkItem(static closed => closed.Cancel(), _closed, preferLocal: false);
    }

    private sealed record Duplex(PipeReader Input, PipeWriter Output) : IDuplexPipe;

    private sealed class QuietStream(StreamConnection owner, Stream inner) : AsyncOnlyStream
    {
        public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            try
            {
                return await inner.ReadAsync(buffer, cancellationToken);
            }
            catch (Exception e) when (e is IOException or ObjectDisposedException)
            {
                throw new ConnectionResetException(e.Message, e);
            }
        }

        public override async ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
        {
            try
            {
                await inner.WriteAsync(buffer, cancellationToken);
            }
            catch (Exception e) when (e is IOException or ObjectDisposedException)
            {
                owner.Close();
            }
        }
    }
}

/// <summary>Feature of a connection, and of every request on it, that comes from the host over the guest channel.</summary>
internal sealed class HostChannel;
