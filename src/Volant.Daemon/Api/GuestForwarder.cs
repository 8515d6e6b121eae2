using System.Net;
using Volant.Contracts.Api;
using Volant.Daemon.Guests;
using Volant.Daemon.Orchestration;
using Yarp.ReverseProxy.Forwarder;

namespace Volant.Daemon.Api;

/// <summary>Where in a guest a request goes.</summary>
/// <param name="Path">Path below the agent's root.</param>
/// <param name="Method">Method in place of the caller's; null keeps it.</param>
/// <param name="Patience">Time until the guest must begin to answer, in place of the configured one.</param>
internal sealed record GuestTarget(PathString Path, HttpMethod? Method = null, TimeSpan? Patience = null);

/// <summary>Streams a request into a guest and the answer back, both ways at once, WebSockets included.</summary>
/// <remarks>
/// The guest is hostile: it never sees the caller's credentials, its redirects are not followed, and its answer cannot act as this origin.
/// It must begin to answer in time, counted from the last byte of the request; a stream that has begun has no limit.
/// </remarks>
internal sealed class GuestForwarder(VmOwners owners, IHttpForwarder forwarder, DaemonOptions options, TimeProvider clock)
{
    private static readonly ForwarderRequestConfig Config = new()
    {
        Version = HttpVersion.Version20,
        VersionPolicy = HttpVersionPolicy.RequestVersionExact,
        ActivityTimeout = Timeout.InfiniteTimeSpan,
        AllowResponseBuffering = false,
    };

    /// <summary>Forwards the request of <paramref name="context"/> to a VM and writes the answer, or a problem.</summary>
    /// <exception cref="VolantException"><c>vm_not_found</c>, <c>vm_not_running</c> or <c>unavailable</c>; nothing is written yet.</exception>
    public async Task ForwardAsync(HttpContext context, string name, GuestTarget target)
    {
        var guest = owners.GetGuest(name);
        var patience = target.Patience ?? options.AgentTimeout;
        using var late = new CancellationTokenSource(Timeout.InfiniteTimeSpan, clock);
        late.CancelAfter(patience);
        context.Request.Body = new WatchedBody(context.Request.Body, () => late.CancelAfter(patience));
        var transformer = new GuestTransformer(target, () => late.CancelAfter(Timeout.InfiniteTimeSpan));
        var error = await forwarder.SendAsync(context, GuestClient.BaseAddress.ToString(), guest.Invoker, Config, transformer, late.Token);
        if (error is ForwarderError.None || context.RequestAborted.IsCancellationRequested)
        {
            return;
        }

        if (late.IsCancellationRequested || error == ForwarderError.RequestTimedOut)
        {
            await Problems.WriteAsync(context, 504, ErrorCodes.Timeout, $"The guest of VM '{name}' did not begin to answer within {patience.TotalSeconds:0.###} s; see 'volar vms logs {name}'.");
        }
        else
        {
            await Problems.WriteAsync(context, 502, ErrorCodes.AgentUnreachable, $"The guest of VM '{name}' did not answer ({error}); see 'volar vms get {name}' and 'volar vms logs {name}'.");
        }
    }

    private sealed class GuestTransformer(GuestTarget target, Action answered) : HttpTransformer
    {
        private static readonly string[] Credentials = ["Authorization", "Cookie", "X-Volant-API-Key", "Proxy-Authorization"];
        private static readonly string[] OriginPowers =
            ["Set-Cookie", "Access-Control-Allow-Origin", "Access-Control-Allow-Credentials", "Clear-Site-Data", "Strict-Transport-Security", "Service-Worker-Allowed"];

        public override async ValueTask TransformRequestAsync(HttpContext httpContext, HttpRequestMessage proxyRequest, string destinationPrefix, CancellationToken cancellationToken)
        {
            await base.TransformRequestAsync(httpContext, proxyRequest, destinationPrefix, cancellationToken);
            foreach (var name in Credentials)
            {
                proxyRequest.Headers.Remove(name);
            }

            if (proxyRequest.Headers.TryGetValues("Sec-WebSocket-Protocol", out var protocols))
            {
                var kept = protocols.SelectMany(value => value.Split(',', StringSplitOptions.TrimEntries)).Where(value => !value.StartsWith("volant-key.", StringComparison.Ordinal)).ToArray();
                proxyRequest.Headers.Remove("Sec-WebSocket-Protocol");
                if (kept.Length > 0)
                {
                    proxyRequest.Headers.TryAddWithoutValidation("Sec-WebSocket-Protocol", string.Join(", ", kept));
                }
            }

            // An upgrade has the method that its protocol says.
            if (target.Method is { } method)
            {
                proxyRequest.Method = method;
            }

            proxyRequest.Headers.Host = null;
            proxyRequest.RequestUri = RequestUtilities.MakeDestinationAddress(destinationPrefix, target.Path, httpContext.Request.QueryString);
        }

        public override async ValueTask<bool> TransformResponseAsync(HttpContext httpContext, HttpResponseMessage? proxyResponse, CancellationToken cancellationToken)
        {
            if (proxyResponse is not null)
            {
                answered();
            }

            var copyBody = await base.TransformResponseAsync(httpContext, proxyResponse, cancellationToken);
            var headers = httpContext.Response.Headers;
            foreach (var name in OriginPowers)
            {
                headers.Remove(name);
            }

            headers.ContentSecurityPolicy = "sandbox allow-scripts allow-forms";
            headers.XContentTypeOptions = "nosniff";
            return copyBody;
        }
    }

    /// <summary>A request's body that tells of every read, so that a long upload is not mistaken for a silent guest.</summary>
    private sealed class WatchedBody(Stream inner, Action progressed) : Stream
    {
        public override bool CanRead => true;

        public override bool CanSeek => false;

        public override bool CanWrite => false;

        public override long Length => throw new NotSupportedException();

        public override long Position
        {
            get => throw new NotSupportedException();
            set => throw new NotSupportedException();
        }

        public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            var read = await inner.ReadAsync(buffer, cancellationToken);
            if (read > 0)
            {
                progressed();
            }

            return read;
        }

        public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) => ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

        public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

        public override void Flush()
        {
        }

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();

        public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();
    }
}
