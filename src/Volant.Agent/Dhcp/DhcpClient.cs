using System.Net;
using System.Net.Sockets;

namespace Volant.Agent.Dhcp;

/// <summary>Gets an address for one interface and keeps it (RFC 2131).</summary>
/// <param name="socket">Socket of the interface.</param>
/// <param name="mac">Ethernet address of the interface.</param>
/// <param name="hostname">Name that the server is told.</param>
/// <param name="findHolder">Looks for an address on the link; returns the hardware address of who has it, or null.</param>
/// <param name="changed">Takes over a new lease, or null when the last one is over; gets the one before too. Not called for a renewal as it was.</param>
/// <param name="console">Where troubles are told.</param>
/// <param name="clock">Clock of the waits.</param>
internal sealed class DhcpClient(
    DhcpSocket socket,
    ReadOnlyMemory<byte> mac,
    string? hostname,
    Func<IPAddress, CancellationToken, Task<string?>> findHolder,
    Action<DhcpLease?, DhcpLease?> changed,
    ConsoleLog console,
    TimeProvider clock)
{
    // A timer cannot wait for longer than 49 days, and a lease may last for years.
    private static readonly TimeSpan LongestWait = TimeSpan.FromDays(1);

    private readonly DhcpMachine _machine = new(new Random());
    private readonly byte[] _buffer = new byte[DhcpMessage.MaxLength + 1];
    private readonly long _start = clock.GetTimestamp();
    private string? _lastProblem;

    /// <summary>Where the client stands.</summary>
    public DhcpState State => _machine.State;

    /// <summary>When it does something next by itself, since it was made.</summary>
    public TimeSpan? Due => _machine.Due;

    private TimeSpan Now => clock.GetElapsedTime(_start);

    /// <summary>Runs until cancelled.</summary>
    /// <exception cref="OperationCanceledException">Cancelled; the lease is kept, so that the guest gets the same address when it starts again, see <see cref="ReleaseAsync"/>.</exception>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        var receiving = socket.ReceiveAsync(_buffer, cancellationToken);
        while (true)
        {
            await DoAsync(() => _machine.OnTime(Now), cancellationToken);
            using (var waiting = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken))
            {
                var wait = _machine.Due is { } due ? due - Now : LongestWait;
                var timer = Task.Delay(wait < TimeSpan.Zero ? TimeSpan.Zero : wait < LongestWait ? wait : LongestWait, clock, waiting.Token);
                await Task.WhenAny(receiving, timer);
                await waiting.CancelAsync();
            }

            cancellationToken.ThrowIfCancellationRequested();
            if (receiving.IsCompleted)
            {
                var length = await receiving;
                if (DhcpMessage.Decode(_buffer.AsSpan(0, length), mac.Span) is { } reply)
                {
                    await DoAsync(() => _machine.OnReply(reply, Now), cancellationToken);
                }

                receiving = socket.ReceiveAsync(_buffer, cancellationToken);
            }
        }
    }

    /// <summary>Gives the lease back, if there is one. Nobody answers that. Only after <see cref="RunAsync"/> has ended.</summary>
    public Task ReleaseAsync(CancellationToken cancellationToken) => SendAsync(_machine.Release(), cancellationToken);

    /// <summary>Lets the machine take a step: first the guest learns what became of its lease, then the servers what it wants.</summary>
    private async Task DoAsync(Func<DhcpStep> take, CancellationToken cancellationToken)
    {
        var before = _machine.Lease;
        var step = take();
        Tell(before);
        Complain(step.Problem);
        await SendAsync(step, cancellationToken);
        if (step.Check is { } address)
        {
            var holder = await findHolder(address, cancellationToken);
            await DoAsync(() => _machine.OnChecked(holder, Now), cancellationToken);
        }
    }

    private async Task SendAsync(DhcpStep step, CancellationToken cancellationToken)
    {
        if (step.Send is not { } request)
        {
            return;
        }

        try
        {
            await socket.SendAsync(DhcpMessage.Encode(request, mac.Span, hostname), step.To, cancellationToken);
        }
        catch (SocketException e)
        {
            // The next retry is the remedy.
            Complain($"A DHCP message could not be sent: {e.Message}.");
        }
    }

    private void Tell(DhcpLease? before)
    {
        var now = _machine.Lease;
        if (now is not null)
        {
            _lastProblem = null;
        }

        if (!ReferenceEquals(before, now) && !IsSame(before, now))
        {
            changed(now, before);
        }
    }

    private static bool IsSame(DhcpLease? a, DhcpLease? b) =>
        a is not null && b is not null && a.Address.Equals(b.Address) && a.PrefixLength == b.PrefixLength && a.Domain == b.Domain &&
        a.Routes.SequenceEqual(b.Routes) && a.NameServers.SequenceEqual(b.NameServers);

    /// <summary>Says what is wrong once, however often it is tried.</summary>
    private void Complain(string? problem)
    {
        if (problem is not null && problem != _lastProblem)
        {
            _lastProblem = problem;
            console.Say(problem);
        }
    }
}
