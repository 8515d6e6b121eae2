using System.Net;

namespace Volant.Agent.Dhcp;

/// <summary>Where a client stands (RFC 2131 §4.4, figure 5).</summary>
internal enum DhcpState
{
    /// <summary>Waits a moment before it begins.</summary>
    Init,

    /// <summary>Has asked who would lend an address.</summary>
    Selecting,

    /// <summary>Has asked for the address that was offered.</summary>
    Requesting,

    /// <summary>Has been given an address and finds out whether somebody else uses it.</summary>
    Checking,

    /// <summary>Has a lease.</summary>
    Bound,

    /// <summary>Asks its server to renew the lease.</summary>
    Renewing,

    /// <summary>Asks every server to renew the lease.</summary>
    Rebinding,
}

/// <summary>What the client is to do now.</summary>
/// <param name="Send">Request to send; null for none.</param>
/// <param name="To">Server to send it to; null for everybody.</param>
/// <param name="Problem">What went wrong, in words; null for nothing.</param>
/// <param name="Check">Address to be looked for on the link; <see cref="DhcpMachine.OnChecked"/> is told the outcome. Null for none.</param>
internal readonly record struct DhcpStep(DhcpRequest? Send = null, IPAddress? To = null, string? Problem = null, IPAddress? Check = null);

/// <summary>The client's part of DHCP, without a clock and without a network: what happens goes in, what to do comes out.</summary>
/// <remarks>Times are durations since any fixed moment, and never run backwards. Not thread-safe.</remarks>
/// <param name="random">Chooses transaction numbers and spreads retries; needs no secrecy.</param>
internal sealed class DhcpMachine(Random random)
{
    private const int MaxRequests = 4;
    private const int MaxDoublings = 6;

    private static readonly TimeSpan FirstRetry = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan PauseAfterRefusal = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan PauseAfterConflict = TimeSpan.FromSeconds(10); // RFC 2131 §3.1, step 5
    private static readonly TimeSpan ShortestRenewalRetry = TimeSpan.FromSeconds(60);

    private TimeSpan _began;
    private TimeSpan _sentAt;
    private TimeSpan _leasedAt;
    private int _attempt;
    private uint _transaction;
    private DhcpLease? _offer;

    /// <summary>Where it stands.</summary>
    public DhcpState State { get; private set; }

    /// <summary>The lease that is good now; null for none.</summary>
    public DhcpLease? Lease { get; private set; }

    /// <summary>When <see cref="OnTime"/> must be called next; null for never.</summary>
    public TimeSpan? Due { get; private set; } = TimeSpan.Zero;

    /// <summary>The time that <see cref="Due"/> asked for has come.</summary>
    public DhcpStep OnTime(TimeSpan now)
    {
        if (Due is not { } due || now < due)
        {
            return default;
        }

        return State switch
        {
            DhcpState.Init => Discover(now, isFirst: true),
            DhcpState.Selecting => Discover(now, isFirst: false),
            DhcpState.Requesting => _attempt < MaxRequests ? Request(now) : Discover(now, isFirst: true),
            _ => Keep(now),
        };
    }

    /// <summary>A message from a server has come.</summary>
    public DhcpStep OnReply(DhcpReply reply, TimeSpan now)
    {
        if (reply.Transaction != _transaction)
        {
            return default;
        }

        return (State, reply.Type) switch
        {
            (DhcpState.Selecting, DhcpType.Offer) => OnOffer(reply, now),
            (DhcpState.Requesting or DhcpState.Renewing or DhcpState.Rebinding, DhcpType.Ack) => OnAck(reply),
            (DhcpState.Requesting or DhcpState.Renewing or DhcpState.Rebinding, DhcpType.Nak) => Refused(now, "The DHCP server took its offer back."),
            _ => default,
        };
    }

    /// <summary>The address of the last <see cref="DhcpStep.Check"/> was looked for on the link (RFC 2131 §4.4.1).</summary>
    /// <param name="holder">Hardware address of who has it; null when nobody does.</param>
    /// <param name="now">The time.</param>
    public DhcpStep OnChecked(string? holder, TimeSpan now)
    {
        var lease = _offer!;
        if (holder is null)
        {
            (State, Lease, Due) = (DhcpState.Bound, lease, lease.Duration is null ? null : _leasedAt + lease.Renewal);
            return default;
        }

        (State, Due) = (DhcpState.Init, now + PauseAfterConflict);
        return new DhcpStep(
            new DhcpRequest(DhcpType.Decline, _transaction, Seconds: 0) { Requested = lease.Address, Server = lease.Server },
            Problem: $"The DHCP server lends {lease.Address}, which {holder} uses already; another address is asked for in {PauseAfterConflict.TotalSeconds:0} s.");
    }

    /// <summary>The guest needs its address no longer: gives it back (RFC 2131 §4.4.6).</summary>
    public DhcpStep Release()
    {
        if (Lease is not { } lease)
        {
            return default;
        }

        (State, Lease, Due) = (DhcpState.Init, null, null);
        NewTransaction();
        return new DhcpStep(new DhcpRequest(DhcpType.Release, _transaction, Seconds: 0) { ClientAddress = lease.Address, Server = lease.Server }, lease.Server);
    }

    private DhcpStep Discover(TimeSpan now, bool isFirst)
    {
        if (isFirst)
        {
            (State, _attempt, _began) = (DhcpState.Selecting, 0, now);
            NewTransaction();
        }

        Due = now + Retry(_attempt++);
        return new DhcpStep(new DhcpRequest(DhcpType.Discover, _transaction, SecondsSince(now)));
    }

    private DhcpStep OnOffer(DhcpReply reply, TimeSpan now)
    {
        // Another server may make a better offer, so an unusable one is only left alone.
        _offer = DhcpLease.Read(reply, out var fault);
        if (_offer is null)
        {
            return new DhcpStep(Problem: $"A DHCP offer was not taken: {fault}.");
        }

        (State, _attempt) = (DhcpState.Requesting, 0);
        return Request(now);
    }

    private DhcpStep Request(TimeSpan now)
    {
        _sentAt = now;
        Due = now + Retry(_attempt++);
        return new DhcpStep(new DhcpRequest(DhcpType.Request, _transaction, SecondsSince(now)) { Requested = _offer!.Address, Server = _offer.Server });
    }

    private DhcpStep OnAck(DhcpReply reply)
    {
        if (DhcpLease.Read(reply, out var fault) is not { } lease)
        {
            return new DhcpStep(Problem: $"A DHCP lease was not taken: {fault}.");
        }

        if (State == DhcpState.Requesting && !lease.Server.Equals(_offer!.Server))
        {
            return default;
        }

        // From the request on, not from the answer: the server's time began in between.
        _leasedAt = _sentAt;
        _offer = lease;
        if (State == DhcpState.Requesting)
        {
            (State, Due) = (DhcpState.Checking, null);
            return new DhcpStep(Check: lease.Address);
        }

        return OnChecked(holder: null, _leasedAt);
    }

    private DhcpStep Keep(TimeSpan now)
    {
        var lease = Lease!;
        var (rebinding, end) = (_leasedAt + lease.Rebinding, _leasedAt + lease.Duration!.Value);
        if (now >= end)
        {
            Lease = null;
            var lost = Discover(now, isFirst: true);
            return lost with { Problem = $"The DHCP lease of {lease.Address} has run out: no server renewed it." };
        }

        if (State == DhcpState.Bound)
        {
            _began = now;
            NewTransaction();
        }

        State = now >= rebinding ? DhcpState.Rebinding : DhcpState.Renewing;
        var next = State == DhcpState.Renewing ? rebinding : end;
        var half = (next - now) / 2;
        Due = half > ShortestRenewalRetry ? now + half : Min(now + ShortestRenewalRetry, next);
        _sentAt = now;
        return new DhcpStep(
            new DhcpRequest(DhcpType.Request, _transaction, SecondsSince(now)) { ClientAddress = lease.Address },
            State == DhcpState.Renewing ? lease.Server : null);
    }

    private DhcpStep Refused(TimeSpan now, string problem)
    {
        (State, Lease, Due) = (DhcpState.Init, null, now + PauseAfterRefusal);
        return new DhcpStep(Problem: problem);
    }

    private void NewTransaction() => _transaction = (uint)random.NextInt64(uint.MaxValue);

    /// <summary>1, 2, 4 … 64 s, spread by an eighth so that guests which started together do not go on together.</summary>
    private TimeSpan Retry(int attempt) => FirstRetry * (1 << Math.Min(attempt, MaxDoublings)) * (0.875 + (random.NextDouble() / 4));

    private ushort SecondsSince(TimeSpan now) => (ushort)Math.Min((now - _began).TotalSeconds, ushort.MaxValue);

    private static TimeSpan Min(TimeSpan a, TimeSpan b) => a < b ? a : b;
}
