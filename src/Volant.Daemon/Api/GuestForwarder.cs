using System.Diagnostics;
using System.Net;
using Microsoft.AspNetCore.Server.Kestrel.Core.Features;
using Volant.Contracts.Api;
using Volant.Daemon.Guests;
using Volant.Daemon.Orchestration;
using Volant.Daemon.Telemetry;
using Yarp.ReverseProxy.Forwarder;

namespace Volant.Daemon.Api;

/// <summary>Where in a guest a request goes.</summary>
/// <param name="Path">Path below the agent's root.</param>
/// <param name="Method">Method in place of the caller's; null keeps it. An upgrade has the method that its protocol says.</param>
/// <param name="Patience">Time until the guest must begin to answer, in place of the configured one.</param>
/// <param name="KeepsOrigin">Whether the guest learns the page that a browser's request comes from.</param>
/// <param name="Answer">What the agent itself may answer, besides problems; null when the answer is the workload's, and free.</param>
internal sealed record GuestTarget(PathString Path, HttpMethod? Method = null, TimeSpan? Patience = null, bool KeepsOrigin = true, AgentAnswer? Answer = null);

/// <summary>What a route of the agent may answer when it succeeds. Anything else, and any header but these, is not passed on.</summary>
/// <param name="Statuses">Its statuses.</param>
/// <param name="Types">Its content types; none for an answer without a body.</param>
internal sealed record AgentAnswer(IReadOnlyList<int> Statuses, IReadOnlyList<string> Types);

/// <summary>Forwards a request into a guest and its answer back: streams both ways, WebSockets included.</summary>
/// <remarks>
/// The guest is hostile: it never sees the caller's credentials, its redirects are not followed, and its answer cannot act as this origin.
/// It must begin to answer in time, counted from the last bytes of the request that it was sent (reliability G09); once the head of the answer
/// is there, there is no limit. Nothing is gathered: a slow side slows the other one down, and between them lie the window of one stream and one buffer.
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

    /// <summary>Forwards the request of <paramref name="context"/> to a VM and writes the answer, or a problem when the guest gives none.</summary>
    /// <exception cref="VolantException"><c>vm_not_found</c>, <c>vm_not_running</c> or <c>unavailable</c>; nothing is written yet.</exception>
    public async Task ForwardAsync(HttpContext context, string name, GuestTarget target)
    {
        var guest = owners.GetGuest(name);
        var patience = target.Patience ?? options.AgentTimeout;
        using var activity = Instruments.Activities.StartActivity("guest.forward", ActivityKind.Client);
        activity?.SetTag("volant.vm", name);
        using var deadline = new HeadDeadline(patience, clock);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(deadline.Token, context.RequestAborted);
        if (context.Features.Get<IHttpMinRequestBodyDataRateFeature>() is { } rate)
        {
            // A live stream may be silent for as long as it likes.
            rate.MinDataRate = null;
        }

        context.Request.Body = new DeadlineBody(context.Request.Body, deadline);
        var transformer = new GuestTransformer(name, target, deadline);
        var error = await forwarder.SendAsync(context, GuestClient.BaseAddress.ToString(), guest.Invoker, Config, transformer, either.Token);
        if (error is ForwarderError.None || context.RequestAborted.IsCancellationRequested)
        {
            return;
        }

        var (status, code, why) = (deadline.IsOver, error) switch
        {
            (true, _) => (StatusCodes.Status504GatewayTimeout, ErrorCodes.Timeout, $"did not answer within {patience.TotalSeconds:0.###} s"),
            (_, ForwarderError.RequestBodyClient) => (StatusCodes.Status400BadRequest, ErrorCodes.InvalidRequest, "was not sent the whole request: its body broke off"),
            (_, ForwarderError.RequestTimedOut) => (StatusCodes.Status504GatewayTimeout, ErrorCodes.Timeout, "did not answer in time"),
            _ => (StatusCodes.Status502BadGateway, ErrorCodes.AgentUnreachable, $"could not be reached or broke off its answer ({error})"),
        };
        await Problems.WriteAsync(context, status, code, Complaint(name, why));
    }

    /// <summary>The sentence about a guest that did not do its part.</summary>
    /// <param name="name">Name of the VM.</param>
    /// <param name="why">What it did instead, as the end of the sentence.</param>
    public static string Complaint(string name, string why) => $"The agent of VM '{name}' {why}; see 'volar vms get {name}' and 'volar vms logs {name}'.";
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
