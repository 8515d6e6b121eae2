using System.ComponentModel;
using System.Globalization;
using System.Net.Sockets;
using Volant.Agent.Boot;
using Volant.Contracts.Boot;
using Volant.Linux.Networking;

namespace Volant.Agent.Dhcp;

/// <summary>The guest's network by DHCP: finds the interface, keeps a lease for it, and applies what is lent.</summary>
/// <param name="argument">What the boot asks for.</param>
/// <param name="hostname">Name that the server is told.</param>
/// <param name="console">Where leases and troubles are told.</param>
/// <param name="clock">Clock of the waits.</param>
internal sealed class GuestDhcp(IpArgument argument, string hostname, ConsoleLog console, TimeProvider clock)
{
    private static readonly TimeSpan ReleaseTime = TimeSpan.FromMilliseconds(500);

    private readonly TaskCompletionSource _first = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly GuestFiles _files = new();

    /// <summary>Completes with the first lease, or when there will be none.</summary>
    public Task First => _first.Task;

    /// <summary>Runs until cancelled, or until it has said why it cannot.</summary>
    /// <param name="changed">Called after every change of the address.</param>
    /// <param name="isOver">Asked at the end: whether the guest needs its address no longer, not even when it starts again.</param>
    /// <param name="cancellationToken">Ends it without an exception.</param>
    public async Task RunAsync(Action changed, Func<bool> isOver, CancellationToken cancellationToken)
    {
        try
        {
            if (await FindAsync(cancellationToken) is not { Mac: { } mac } link)
            {
                console.Say("The boot arguments ask for DHCP, but the guest has no Ethernet interface.");
                return;
            }

            using var socket = new DhcpSocket(link.Name);
            var address = Convert.FromHexString(mac.Replace(":", string.Empty, StringComparison.Ordinal));
            var check = new AddressCheck(link.Index, address, clock);
            var client = new DhcpClient(socket, address, hostname, check.FindHolderAsync, OnChanged, console, clock);
            try
            {
                await client.RunAsync(cancellationToken);
            }
            catch (OperationCanceledException) when (isOver())
            {
                using var limit = new CancellationTokenSource(ReleaseTime, clock);
                await client.ReleaseAsync(limit.Token);
            }

            void OnChanged(DhcpLease? now, DhcpLease? before)
            {
                Apply(link.Index, now, before);
                changed();
            }
        }
        catch (OperationCanceledException)
        {
            // The guest ends.
        }
        catch (Exception e) when (e is Win32Exception or IOException or SocketException)
        {
            console.Say($"There is no network by DHCP: {e.Message}.");
        }
        finally
        {
            _first.TrySetResult();
        }
    }

    private async Task<NetworkLink?> FindAsync(CancellationToken cancellationToken)
    {
        using var netlink = Netlink.Open();
        var link = await new GuestNetwork(clock).FindAsync(netlink, argument.Device, cancellationToken);
        if (link is not null)
        {
            netlink.SetUp(link.Index);
        }

        return link;
    }

    private void Apply(int index, DhcpLease? now, DhcpLease? before)
    {
        try
        {
            using var netlink = Netlink.Open();
            if (before is not null && (now is null || !before.Address.Equals(now.Address) || before.PrefixLength != now.PrefixLength))
            {
                netlink.DeleteAddress(index, before.Address, before.PrefixLength);
            }

            if (now is null)
            {
                return;
            }

            netlink.ReplaceAddress(index, now.Address, now.PrefixLength);
            foreach (var route in now.Routes)
            {
                netlink.ReplaceRoute(route.Destination, route.PrefixLength, route.Gateway, index);
            }

            _files.WriteLease(now.NameServers, now.Domain);
            var lasts = now.Duration is { } duration ? string.Create(CultureInfo.InvariantCulture, $" for {duration.TotalSeconds:0} s") : string.Empty;
            console.Say($"address {now.Address}/{now.PrefixLength} from {now.Server} by DHCP{lasts}");
        }
        catch (Exception e) when (e is Win32Exception or IOException)
        {
            console.Say($"A DHCP lease could not be applied: {e.Message}.");
        }
        finally
        {
            if (now is not null)
            {
                _first.TrySetResult();
            }
        }
    }
}
