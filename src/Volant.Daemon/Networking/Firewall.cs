using System.Net;
using Volant.Contracts.Api;
using Volant.Linux.Networking;

namespace Volant.Daemon.Networking;

/// <summary>Keeps guests from posing as others and from reaching the host: the rules of <see cref="FirewallRules"/> in the kernel.</summary>
/// <remarks>
/// What it last saw or put there is remembered, so that tables which somebody removed come back whole at the next call. Rules that are
/// there already are replaced in one transaction, and elements stay: guests that run are never without. Calls serve the network namespace
/// of the thread, one at a time, and take about a millisecond.
/// </remarks>
internal sealed partial class Firewall(FirewallRules rules, ILogger logger)
{
    private readonly Lock _gate = new();
    private readonly Dictionary<string, HashSet<FirewallElement>> _guests = new(StringComparer.Ordinal);
    private string? _installed;

    /// <summary>Refuses to go on when nftables cannot be used here at all.</summary>
    /// <exception cref="VolantException"><c>network_unavailable</c>.</exception>
    public static void Require()
    {
        if (!Nftables.IsAvailable)
        {
            throw Unusable("the library libnftables.so.1 is not installed; install it (apt-get install libnftables1)");
        }
    }

    /// <summary>Lets a guest send as itself, and as nobody else, through its tap; what it was allowed before ends.</summary>
    /// <exception cref="VolantException"><c>network_unavailable</c>; nothing was changed.</exception>
    public void Allow(string tap, MacAddress mac, IReadOnlyList<IPAddress> addresses)
    {
        lock (_gate)
        {
            var wanted = FirewallRules.ElementsOf(tap, mac, addresses).ToHashSet();
            var removed = _guests.TryGetValue(tap, out var old) ? old.Except(wanted) : [];
            var commands = string.Concat(removed.Select(rules.Remove)) + string.Concat(wanted.Select(rules.Add));
            Explain(() =>
            {
                if (_installed is null)
                {
                    Install_NeedsLock();
                }

                try
                {
                    Nftables.Run(commands);
                }
                catch (NftablesException e) when (e.IsMissing)
                {
                    LogDrift(rules.Table);
                    Install_NeedsLock();
                    Nftables.Run(commands);
                }
            });
            _guests[tap] = wanted;
        }
    }

    /// <summary>Removes what a guest was allowed; its tap is gone. Nothing to do is no fault.</summary>
    /// <returns>The addresses that it had.</returns>
    /// <exception cref="VolantException"><c>network_unavailable</c>.</exception>
    public IReadOnlyList<IPAddress> Forget(string tap)
    {
        lock (_gate)
        {
            if (!_guests.ContainsKey(tap))
            {
                ReadElements_NeedsLock();
            }

            if (!_guests.TryGetValue(tap, out var old))
            {
                return [];
            }

            Explain(() => RunIfThere(string.Concat(old.Select(rules.Remove))));
            _guests.Remove(tap);
            return [.. old.Where(element => element.Set is FirewallRules.Guests or FirewallRules.Guests6).Select(element => IPAddress.Parse(element.Value))];
        }
    }

    /// <summary>Taps that the rules name; none when nftables cannot be used.</summary>
    public IReadOnlyList<string> ListTaps()
    {
        lock (_gate)
        {
            ReadElements_NeedsLock();
            return [.. _guests.Keys];
        }
    }

    /// <summary>Puts the rules right, and tells which guests were without: all when somebody had changed the rules, else those whose elements <see cref="Allow"/> repairs.</summary>
    /// <param name="guests">Ethernet and IP addresses of every guest that runs, by its tap.</param>
    /// <exception cref="VolantException"><c>network_unavailable</c>.</exception>
    public IReadOnlyList<string> Check(IReadOnlyDictionary<string, (MacAddress Mac, IReadOnlyList<IPAddress> Addresses)> guests)
    {
        lock (_gate)
        {
            if (guests.Count == 0 && _guests.Count == 0 && _installed is null)
            {
                return [];
            }

            return Explain(() =>
            {
                var drifted = _installed is not null && ReadRules() != _installed;
                if (drifted)
                {
                    LogDrift(rules.Table);
                }

                if (drifted || _installed is null)
                {
                    Install_NeedsLock();
                }

                if (ReadElements_NeedsLock() is { Count: > 0 } strays)
                {
                    LogStrays(string.Join(", ", strays.Select(stray => stray.Value)), rules.Table);
                    Nftables.Run(string.Concat(strays.Select(rules.Remove)));
                }

                return guests.Keys.Where(tap => drifted || !IsAllowed_NeedsLock(tap, guests[tap].Mac, guests[tap].Addresses)).ToList();
            });
        }
    }

    /// <summary>Removes the tables, if there are any and nftables can be used; for guests who are to have no rules.</summary>
    public void RemoveAll()
    {
        lock (_gate)
        {
            try
            {
                if (Nftables.IsAvailable)
                {
                    Nftables.Run(rules.Removal);
                }
            }
            catch (NftablesException e)
            {
                LogNotRemoved(rules.Table, e.Message);
            }
        }
    }

    private bool IsAllowed_NeedsLock(string tap, MacAddress mac, IReadOnlyList<IPAddress> addresses) =>
        _guests.TryGetValue(tap, out var elements) && elements.SetEquals(FirewallRules.ElementsOf(tap, mac, addresses));

    private void Install_NeedsLock()
    {
        var elements = string.Concat(_guests.Values.SelectMany(guest => guest).Select(rules.Add));
        try
        {
            Nftables.Run(rules.Text + elements);
        }
        catch (NftablesException e) when (!e.IsNotPermitted)
        {
            // A set or chain of another kind has the name: of an older daemon, say. All of it in one transaction, so that guests are never without rules.
            Nftables.Run(rules.Removal + rules.Text + elements);
        }

        _installed = ReadRules();
    }

    private string? ReadRules()
    {
        try
        {
            return Nftables.ListRules(FirewallRules.Frames, rules.Table) + Nftables.ListRules(FirewallRules.Packets, rules.Table);
        }
        catch (NftablesException e) when (e.IsMissing)
        {
            return null;
        }
    }

    /// <summary>Makes what is remembered what the kernel has; returns addresses that belong to no guest. Keeps it when nothing can be read.</summary>
    private List<FirewallElement> ReadElements_NeedsLock()
    {
        try
        {
            if (!Nftables.IsAvailable)
            {
                return [];
            }

            var found = new[] { FirewallRules.Taps, FirewallRules.Macs, FirewallRules.Addresses, FirewallRules.Addresses6 }
                .SelectMany(set => Nftables.ListElements(FirewallRules.Frames, rules.Table, set).Select(parts => (Set: set, Parts: parts))).ToList();
            var guests = new[] { FirewallRules.Guests, FirewallRules.Guests6 }
                .SelectMany(set => Nftables.ListElements(FirewallRules.Packets, rules.Table, set).Select(parts => parts[0])).ToHashSet(StringComparer.Ordinal);
            _guests.Clear();
            foreach (var tap in found.GroupBy(element => element.Parts[0], StringComparer.Ordinal))
            {
                var addresses = tap.Where(element => element.Set is FirewallRules.Addresses or FirewallRules.Addresses6 && guests.Contains(element.Parts[1])).Select(element => element.Parts[1]).ToList();
                _guests[tap.Key] =
                [
                    .. tap.Select(element => new FirewallElement(FirewallRules.Frames, element.Set, string.Join(" . ", element.Parts.Select((part, at) => at == 0 ? $"\"{part}\"" : part)))),
                    .. addresses.Select(FirewallRules.GuestOf),
                ];
                guests.ExceptWith(addresses);
            }

            return [.. guests.Select(FirewallRules.GuestOf)];
        }
        catch (NftablesException e)
        {
            LogNotRead(rules.Table, e.Message);
            return [];
        }
    }

    private static void RunIfThere(string commands)
    {
        try
        {
            Nftables.Run(commands);
        }
        catch (NftablesException e) when (e.IsMissing)
        {
            return; // With the tables went all that was in them.
        }
    }

    private static void Explain(Action action) => Explain(() =>
    {
        action();
        return true;
    });

    private static T Explain<T>(Func<T> action)
    {
        Require();
        try
        {
            return action();
        }
        catch (NftablesException e)
        {
            throw Unusable(e.IsNotPermitted ? "it needs CAP_NET_ADMIN; run volantd as root" : $"nftables says: {e.Message}; the kernel needs the modules nf_tables, nft_ct, nft_masq and nft_limit", e);
        }
    }

    private static VolantException Unusable(string why, Exception? cause = null) => new(
        ErrorCodes.NetworkUnavailable, $"The packet filter that keeps guests from posing as others cannot be set up: {why}. Network mode vsock needs none; VOLANT_FIREWALL=off does without it.", cause);

    [LoggerMessage(EventId = 3011, Level = LogLevel.Warning, Message = "The packet filter rules in table {Table} were changed or removed by somebody, and are put right")]
    private partial void LogDrift(string table);

    [LoggerMessage(EventId = 3012, Level = LogLevel.Warning, Message = "The addresses {Addresses} in table {Table} belong to no guest and are removed")]
    private partial void LogStrays(string addresses, string table);

    [LoggerMessage(EventId = 3013, Level = LogLevel.Warning, Message = "The packet filter rules in table {Table} could not be removed: {Reason}")]
    private partial void LogNotRemoved(string table, string reason);

    [LoggerMessage(EventId = 3014, Level = LogLevel.Debug, Message = "The packet filter rules in table {Table} could not be read: {Reason}")]
    private partial void LogNotRead(string table, string reason);
}
