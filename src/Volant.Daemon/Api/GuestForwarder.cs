using System.Net;
using Microsoft.AspNetCore.Server.Kestrel.Core.Features;
using Volant.Contracts.Api;
using Volant.Daemon.Guests;
using Yarp.ReverseProxy.Forwarder;

namespace Volant.Daemon.Api;

/// <summary>Limits of what is forwarded into guests.</summary>
internal sealed record ProxyLimits
{
    /// <summary>How long a guest may take for the head of its answer, counted from the last bytes of the request that it was sent (reliability G09).</summary>
    public TimeSpan Head { get; init; } = TimeSpan.FromSeconds(30);
}

/// <summary>Forwards a request into a guest and its answer back: streams both ways, WebSockets included.</summary>
/// <remarks>
/// The guest is hostile: it never sees the caller's credentials, its redirects are not followed, and its answer cannot act as this origin.
/// Nothing is gathered: a slow side slows the other one down, and between them lie the window of one stream and one buffer. Once the head of
/// the answer is there, there is no limit on time.
/// </remarks>
internal sealed class GuestForwarder(IHttpForwarder forwarder, ProxyLimits limits, TimeProvider clock)
{
    private static readonly ForwarderRequestConfig Config = new()
    {
        Version = HttpVersion.Version20,
        VersionPolicy = HttpVersionPolicy.RequestVersionExact,
        ActivityTimeout = Timeout.InfiniteTimeSpan,
        AllowResponseBuffering = false,
    };

    /// <summary>Forwards; answers with a problem when the guest does not.</summary>
    /// <param name="context">Request and answer.</param>
    /// <param name="name">The VM, for messages.</param>
    /// <param name="guest">Its agent.</param>
    /// <param name="path">Path in the guest.</param>
    /// <param name="keepOrigin">Whether the guest learns the page that a browser's request comes from.</param>
    public async Task ForwardAsync(HttpContext context, string name, GuestClient guest, PathString path, bool keepOrigin = true)
    {
        using var deadline = new HeadDeadline(limits.Head, clock);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(deadline.Token, context.RequestAborted);
        if (context.Features.Get<IHttpMinRequestBodyDataRateFeature>() is { } rate)
        {
            // A live stream may be silent for as long as it likes.
            rate.MinDataRate = null;
        }

        context.Request.Body = new DeadlineBody(context.Request.Body, deadline);
        var transformer = new GuestTransformer(path, keepOrigin, deadline);
        var error = await forwarder.SendAsync(context, GuestClient.BaseAddress.ToString(), guest.Invoker, Config, transformer, either.Token);
        if (error is ForwarderError.None || context.RequestAborted.IsCancellationRequested)
        {
            return;
        }

        var (status, code, why) = (deadline.IsOver, error) switch
        {
            (true, _) => (StatusCodes.Status504GatewayTimeout, ErrorCodes.Timeout, $"did not answer within {limits.Head.TotalSeconds:0.###} s"),
            (_, ForwarderError.RequestBodyClient) => (StatusCodes.Status400BadRequest, ErrorCodes.InvalidRequest, "was not sent the whole request: its body broke off"),
            (_, ForwarderError.RequestTimedOut) => (StatusCodes.Status504GatewayTimeout, ErrorCodes.Timeout, "did not answer in time"),
            _ => (StatusCodes.Status502BadGateway, ErrorCodes.AgentUnreachable, $"could not be reached or broke off its answer ({error})"),
        };
        await Problems.WriteAsync(context, status, code, $"The agent of VM '{name}' {why}; see 'volar vms get {name}' and 'volar vms logs {name}'.");
    }
}

/// <summary>Runs out unless the head of an answer arrives; stands still while the caller is sending.</summary>
internal sealed class HeadDeadline : IDisposable
{
    private readonly Lock _gate = new();
    private readonly TimeSpan _limit;
    private readonly CancellationTokenSource _source;
    private bool _isMet;

    /// <summary>Starts it.</summary>
    public HeadDeadline(TimeSpan limit, TimeProvider clock)
    {
        _limit = limit;
        _source = new CancellationTokenSource(limit, clock);
        Token = _source.Token;
    }

    /// <summary>Cancelled when it has run out.</summary>
    public CancellationToken Token { get; }

    /// <summary>Whether it has run out.</summary>
    public bool IsOver => Token.IsCancellationRequested;

    /// <summary>The head arrived.</summary>
    public void Meet()
    {
        lock (_gate)
        {
            _isMet = true;
            _source.CancelAfter(Timeout.InfiniteTimeSpan);
        }
    }

    /// <summary>Stops it for a while, or lets it run anew.</summary>
    public void Run(bool isRunning)
    {
        lock (_gate)
        {
            if (!_isMet)
            {
                _source.CancelAfter(isRunning ? _limit : Timeout.InfiniteTimeSpan);
            }
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        lock (_gate)
        {
            _isMet = true;
            _source.Dispose();
        }
    }
}

/// <summary>Body of a request: while it waits for the caller, the guest's time does not run.</summary>
internal sealed class DeadlineBody(Stream inner, HeadDeadline deadline) : Stream
{
    /// <inheritdoc/>
    public override bool CanRead => true;

    /// <inheritdoc/>
    public override bool CanSeek => false;

    /// <inheritdoc/>
    public override bool CanWrite => false;

    /// <inheritdoc/>
    public override long Length => throw new NotSupportedException();

    /// <inheritdoc/>
    public override long Position
    {
        get => throw new NotSupportedException();
        set => throw new NotSupportedException();
    }

    /// <inheritdoc/>
    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        deadline.Run(isRunning: false);
        try
        {
            return await inner.ReadAsync(buffer, cancellationToken);
        }
        finally
        {
            deadline.Run(isRunning: true);
        }
    }

    /// <inheritdoc/>
    public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
        ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    /// <inheritdoc/>
    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException("Use ReadAsync.");

    /// <inheritdoc/>
    public override void Flush()
    {
    }

    /// <inheritdoc/>
    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    /// <inheritdoc/>
    public override void SetLength(long value) => throw new NotSupportedException();

    /// <inheritdoc/>
    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();
}
