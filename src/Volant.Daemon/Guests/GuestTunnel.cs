using System.Net;

namespace Volant.Daemon.Guests;

/// <summary>Bytes to and from a guest, each direction with an end of its own: the two bodies of one HTTP/2 request.</summary>
internal sealed class GuestTunnel : IDisposable
{
    private readonly CancellationTokenSource _life;
    private readonly HttpResponseMessage _response;
    private readonly Upload _upload;
    private readonly Action _closed;
    private int _disposed;

    private GuestTunnel(CancellationTokenSource life, HttpResponseMessage response, Stream output, Upload upload, Action closed) =>
        (_life, _response, Output, _upload, _closed) = (life, response, output, upload, closed);

    /// <summary>What comes from the guest.</summary>
    public Stream Output { get; }

    /// <summary>Opens one.</summary>
    /// <param name="invoker">Leads to the agent.</param>
    /// <param name="address">What serves it there.</param>
    /// <param name="closed">Called once: when it could not be opened, or when it is disposed.</param>
    /// <param name="cancellationToken">Ends the opening.</param>
    /// <exception cref="HttpRequestException">The agent cannot be reached or refuses.</exception>
    public static async Task<GuestTunnel> OpenAsync(HttpMessageInvoker invoker, Uri address, Action closed, CancellationToken cancellationToken)
    {
        var life = new CancellationTokenSource();
        var upload = new Upload();
        HttpResponseMessage? response = null;
        try
        {
            using var giveUp = cancellationToken.UnsafeRegister(static life => ((CancellationTokenSource)life!).Cancel(), life);
            response = await invoker.SendAsync(new HttpRequestMessage(HttpMethod.Post, address) { Content = upload }, life.Token);
            if (response.StatusCode != HttpStatusCode.OK)
            {
                throw new HttpRequestException($"it answered {(int)response.StatusCode} to POST {address.AbsolutePath}");
            }

            return new GuestTunnel(life, response, await response.Content.ReadAsStreamAsync(life.Token), upload, closed);
        }
        catch
        {
            await life.CancelAsync();
            upload.Complete();
            response?.Dispose();
            life.Dispose();
            closed();
            throw;
        }
    }

    /// <summary>Sends bytes into the guest.</summary>
    public async ValueTask WriteAsync(ReadOnlyMemory<byte> bytes, CancellationToken cancellationToken)
    {
        var input = await _upload.Stream.Task.WaitAsync(cancellationToken);
        await input.WriteAsync(bytes, cancellationToken);
        await input.FlushAsync(cancellationToken);
    }

    /// <summary>Says that nothing more will be sent.</summary>
    public void Complete() => _upload.Complete();

    /// <summary>Closes it; one whose directions have not both ended is broken off, which the guest sees.</summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _disposed, 1) == 0)
        {
            _life.Cancel();
            _upload.Complete();
            _response.Dispose();
            _life.Dispose();
            _closed();
        }
    }

    /// <summary>A body that is written as it comes.</summary>
    private sealed class Upload : HttpContent
    {
        private readonly TaskCompletionSource _complete = new(TaskCreationOptions.RunContinuationsAsynchronously);

        /// <summary>Where to write, once the request is on its way.</summary>
        public TaskCompletionSource<Stream> Stream { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public void Complete() => _complete.TrySetResult();

        protected override Task SerializeToStreamAsync(Stream stream, TransportContext? context) => SerializeToStreamAsync(stream, context, CancellationToken.None);

        protected override async Task SerializeToStreamAsync(Stream stream, TransportContext? context, CancellationToken cancellationToken)
        {
            // The head of the request leaves with the first bytes, or with this.
            await stream.FlushAsync(cancellationToken);
            Stream.TrySetResult(stream);
            await _complete.Task.WaitAsync(cancellationToken);
        }

        protected override bool TryComputeLength(out long length)
        {
            length = 0;
            return false;
        }
    }
}
