using System.Diagnostics.CodeAnalysis;
using System.Net;
using Volant.Contracts.Api;

namespace Volant.Daemon.Guests;

/// <summary>A request to an agent whose body is written while its answer is read: two directions of one HTTP/2 stream.</summary>
/// <remarks>Nothing is buffered beyond the windows of that stream. Disposing of it resets the stream, by which the agent knows that the caller is gone.</remarks>
internal sealed class GuestStream : IDisposable
{
    private readonly GuestClient _guest;
    private readonly HttpRequestMessage _request;

    [SuppressMessage("Usage", "CA2213", Justification = "The request owns it.")]
    private readonly UploadContent _upload;
    private readonly CancellationTokenSource _life;
    private HttpResponseMessage? _response;
    private Stream? _input;
    private int _isDisposed;

    [SuppressMessage("Reliability", "CA2000", Justification = "The request owns its content.")]
    private GuestStream(GuestClient guest, string path, ReadOnlyMemory<byte> first, CancellationTokenSource life)
    {
        _guest = guest;
        _life = life;
        _upload = new UploadContent(first);
        _request = new HttpRequestMessage(HttpMethod.Post, new Uri(GuestClient.BaseAddress, path)) { Content = _upload };
    }

    /// <summary>What the agent sends.</summary>
    public Stream Input => _input!;

    /// <summary>Sends a request with the beginning of its body, and waits for the head of the answer.</summary>
    /// <param name="guest">The agent.</param>
    /// <param name="name">Name of the VM.</param>
    /// <param name="path">Path and query.</param>
    /// <param name="first">Beginning of the body.</param>
    /// <param name="patience">Time until the head must be there.</param>
    /// <param name="cancellationToken">Gives up.</param>
    /// <exception cref="VolantException">What the agent says against it; <c>agent_unreachable</c>, also when there are <see cref="GuestClient.MaxStreams"/> already; or <c>timeout</c>.</exception>
    public static async Task<GuestStream> OpenAsync(
        GuestClient guest, string name, string path, ReadOnlyMemory<byte> first, TimeSpan patience, CancellationToken cancellationToken)
    {
        // The token of the call also governs the body, which outlives it.
        guest.EnterStream();
        var stream = new GuestStream(guest, path, first, guest.StartLimit(patience));
        var isOpen = false;
        try
        {
            using var caller = cancellationToken.UnsafeRegister(static life => ((CancellationTokenSource)life!).Cancel(), stream._life);
            stream._response = await guest.Invoker.SendAsync(stream._request, stream._life.Token);
            if (stream._response.StatusCode != HttpStatusCode.OK)
            {
                throw await GuestProblem.ReadAsync(stream._response, name, stream._life.Token);
            }

            stream._input = await stream._response.Content.ReadAsStreamAsync(stream._life.Token);
            stream._life.CancelAfter(Timeout.InfiniteTimeSpan);
            isOpen = true;
            return stream;
        }
        catch (OperationCanceledException e) when (!cancellationToken.IsCancellationRequested)
        {
            throw new VolantException(ErrorCodes.Timeout, $"The agent of VM '{name}' did not answer within {patience.TotalSeconds:0.###} s.", e);
        }
        catch (Exception e) when (e is HttpRequestException or IOException)
        {
            throw new VolantException(ErrorCodes.AgentUnreachable, $"The agent of VM '{name}' cannot be reached: {e.Message.TrimEnd('.')}.", e);
        }
        finally
        {
            if (!isOpen)
            {
                stream.Dispose();
            }
        }
    }

    /// <summary>Sends bytes.</summary>
    /// <exception cref="IOException">The agent takes no more.</exception>
    public async ValueTask WriteAsync(ReadOnlyMemory<byte> bytes, CancellationToken cancellationToken)
    {
        var output = await _upload.Output.WaitAsync(cancellationToken);
        await output.WriteAsync(bytes, cancellationToken);
        await output.FlushAsync(cancellationToken);
    }

    /// <summary>Ends the direction to the agent.</summary>
    public void Complete() => _upload.Complete();

    /// <summary>Closes it; one whose directions have not both ended is broken off, which the guest sees.</summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _isDisposed, 1) == 0)
        {
            _life.Cancel();
            _upload.Complete();
            _input?.Dispose();
            _response?.Dispose();
            _request.Dispose();
            _life.Dispose();
            _guest.LeaveStream();
        }
    }

    /// <summary>A body that is written from outside.</summary>
    private sealed class UploadContent(ReadOnlyMemory<byte> first) : HttpContent
    {
        private readonly TaskCompletionSource<Stream> _output = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private readonly TaskCompletionSource _done = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public Task<Stream> Output => _output.Task;

        public void Complete() => _done.TrySetResult();

        protected override Task SerializeToStreamAsync(Stream stream, TransportContext? context) => SerializeToStreamAsync(stream, context, CancellationToken.None);

        protected override async Task SerializeToStreamAsync(Stream stream, TransportContext? context, CancellationToken cancellationToken)
        {
            if (!first.IsEmpty)
            {
                await stream.WriteAsync(first, cancellationToken);
            }

            await stream.FlushAsync(cancellationToken);
            _output.TrySetResult(stream);
            await _done.Task.WaitAsync(cancellationToken);
        }

        protected override bool TryComputeLength(out long length)
        {
            length = 0;
            return false;
        }
    }
}
