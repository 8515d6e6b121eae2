using System.Net.Sockets;

namespace Volant.Agent.Http;

/// <summary>One connection to the workload, for one request. A small HTTP/1.1 client: the framework's would add 3 MB to the agent.</summary>
internal sealed class WorkloadConnection : IDisposable
{
    /// <summary>How long the workload may take to accept a connection.</summary>
    public static readonly TimeSpan ConnectTimeout = TimeSpan.FromSeconds(5);

    private const int MaxInterimAnswers = 8;

    private readonly Socket _socket;
    private readonly NetworkStream _stream;
    private readonly ByteSource _source;

    private WorkloadConnection(Socket socket)
    {
        _socket = socket;
        _stream = new NetworkStream(socket, ownsSocket: true);
        _source = new ByteSource(_stream);
    }

    /// <summary>Connects to the workload.</summary>
    /// <exception cref="IOException">It refused, or did not accept within <see cref="ConnectTimeout"/>.</exception>
    public static async Task<WorkloadConnection> OpenAsync(WorkloadTarget target, TimeProvider clock, CancellationToken cancellationToken)
    {
        using var limit = new CancellationTokenSource(ConnectTimeout, clock);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(limit.Token, cancellationToken);
        var socket = new Socket(target.Address.AddressFamily, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        try
        {
            await socket.ConnectAsync(target.Address, either.Token);
            return new WorkloadConnection(socket);
        }
        catch (SocketException e)
        {
            socket.Dispose();
            throw new IOException($"Nothing answers at {target.Address}: {Words(e.SocketErrorCode)}.", e);
        }
        catch (OperationCanceledException e) when (!cancellationToken.IsCancellationRequested)
        {
            socket.Dispose();
            throw new IOException($"Nothing accepted at {target.Address} within {ConnectTimeout.TotalSeconds} s.", e);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    /// <summary>Sends bytes.</summary>
    public ValueTask WriteAsync(ReadOnlyMemory<byte> bytes, CancellationToken cancellationToken) => _stream.WriteAsync(bytes, cancellationToken);

    /// <summary>Tells the workload that nothing more will be sent.</summary>
    public void CloseSending()
    {
        try
        {
            _socket.Shutdown(SocketShutdown.Send);
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // It hung up first.
        }
    }

    /// <summary>Reads the head of the final answer; interim ones (1xx but 101) are skipped.</summary>
    /// <exception cref="WorkloadProtocolException">The answer is not HTTP.</exception>
    /// <exception cref="IOException">The connection broke.</exception>
    public async Task<ResponseHead> ReadHeadAsync(CancellationToken cancellationToken)
    {
        for (var i = 0; i <= MaxInterimAnswers; i++)
        {
            var scanned = 0;
            int length;
            while (true)
            {
                if (ResponseHeadParser.FindEnd(_source.Buffered, ref scanned) is { } end)
                {
                    length = end;
                    break;
                }

                if (!await _source.FillAsync(cancellationToken))
                {
                    throw new WorkloadProtocolException(_source.Buffered.IsEmpty
                        ? "The workload closed the connection without an answer."
                        : "The workload closed the connection in the middle of its header.");
                }
            }

            var head = ResponseHeadParser.Parse(_source.Buffered[..length]);
            _source.Take(length);
            if (head.Status is 101 or >= 200)
            {
                return head;
            }
        }

        throw new WorkloadProtocolException($"The workload sent more than {MaxInterimAnswers} interim answers.");
    }

    /// <summary>The body that follows <paramref name="head"/>.</summary>
    public ResponseBody Body(ResponseHead head, string method) => new(_source, head.FramingFor(method), head.Length ?? 0);

    /// <summary>Reads bytes after a switch of protocols; 0 when the workload hung up.</summary>
    public ValueTask<int> ReadRawAsync(Memory<byte> destination, CancellationToken cancellationToken) => _source.ReadAsync(destination, cancellationToken);

    /// <inheritdoc/>
    public void Dispose() => _stream.Dispose();

    private static string Words(SocketError error) => error switch
    {
        SocketError.ConnectionRefused => "connection refused",
        SocketError.HostUnreachable or SocketError.NetworkUnreachable => "no route",
        _ => error.ToString(),
    };
}
