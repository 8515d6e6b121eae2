namespace Volant.Daemon.Publishing;

/// <summary>A port of the host.</summary>
/// <param name="Protocol">"tcp" or "udp".</param>
/// <param name="Number">1 to 65,535.</param>
internal readonly record struct HostPort(string Protocol, int Number)
{
    /// <summary>As <c>8080/tcp</c>.</summary>
    public override string ToString() => $"{Number}/{Protocol}";
}

/// <summary>A guest that takes what comes to a published port.</summary>
/// <param name="Id">Tells guests apart, to spread connections.</param>
/// <param name="Name">For people.</param>
/// <param name="ConnectAsync">Opens a TCP connection. Fails by <see cref="IOException"/>, <see cref="System.Net.Sockets.SocketException"/> or <see cref="VolantException"/>.</param>
/// <param name="OpenDatagramsAsync">Opens the way of one client's datagrams; fails as above.</param>
/// <param name="Gone">Cancelled when the guest is gone: whatever leads to it is cut.</param>
internal sealed record Backend(
    Guid Id, string Name, Func<CancellationToken, Task<Connection>> ConnectAsync, Func<CancellationToken, Task<DatagramLink>> OpenDatagramsAsync, CancellationToken Gone);

/// <summary>Spreads over the guests of one published port: the least busy first, equally busy ones in turn.</summary>
/// <param name="find">See <see cref="Find"/>.</param>
internal sealed class Balancer(Func<IReadOnlyList<Backend>> find)
{
    private readonly Lock _gate = new();
    private readonly Dictionary<Guid, int> _busy = [];
    private volatile Func<IReadOnlyList<Backend>> _find = find;
    private int _turn;

    /// <summary>The guests that can be used at this moment; quick, called for every connection.</summary>
    public Func<IReadOnlyList<Backend>> Find
    {
        get => _find;
        set => _find = value;
    }

    /// <summary>The guests in the order in which to try them.</summary>
    public IReadOnlyList<Backend> Candidates()
    {
        var found = _find();
        if (found.Count < 2)
        {
            return found;
        }

        lock (_gate)
        {
            var turn = (_turn++ & int.MaxValue) % found.Count;
            return [.. found.Skip(turn).Concat(found.Take(turn)).OrderBy(backend => _busy.GetValueOrDefault(backend.Id))];
        }
    }

    /// <summary>Counts a connection until the returned value is disposed.</summary>
    public IDisposable Use(Backend backend)
    {
        lock (_gate)
        {
            _busy[backend.Id] = _busy.GetValueOrDefault(backend.Id) + 1;
        }

        return new Usage(this, backend.Id);
    }

    private void End(Guid id)
    {
        lock (_gate)
        {
            if (--_busy[id] == 0)
            {
                _busy.Remove(id);
            }
        }
    }

    private sealed class Usage(Balancer balancer, Guid id) : IDisposable
    {
        private int _ended;

        public void Dispose()
        {
            if (Interlocked.Exchange(ref _ended, 1) == 0)
            {
                balancer.End(id);
            }
        }
    }
}
