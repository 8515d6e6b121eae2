using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.Net;
using System.Text;
using Microsoft.Extensions.Time.Testing;
using Volant.Agent;
using Volant.Agent.Dhcp;
using Volant.Linux.Networking;
using Volant.Linux.Processes;
using Volant.Tests.Linux;

namespace Volant.Tests.Agent;

/// <summary>The DHCP client against a server of the distribution, over a pair of interfaces between two network namespaces.</summary>
public sealed class DhcpClientTests
{
    private const string Busybox = "/usr/bin/busybox";
    private const string Ip = "/usr/sbin/ip";
    private const string Client = "vtc0";
    private const string Server = "vts0";

    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(20);

    [Fact]
    public void An_address_is_leased_renewed_and_lost_when_the_server_is_gone() => WithServer((server, _) => Exchange(() => Kill(server)));

    [Fact]
    public void An_address_is_looked_for_on_the_link_and_given_back_when_it_is_not_needed_any_more() => WithServer((server, leases) =>
    {
        using var netlink = Netlink.Open();
        using var console = new ConsoleLog(_ => { });
        using var socket = new DhcpSocket(Client);
        using var end = new CancellationTokenSource();
        var link = netlink.GetLink(Client);
        var mac = HardwareAddress(link);

        // Each opens its socket on this thread, which is the one that is in the namespace.
        var check = new AddressCheck(link.Index, mac, TimeProvider.System);
        string? holder = null, nobody = "not looked for";
        var looking = Task.WhenAll(
            KeepAsync(check.FindHolderAsync(IPAddress.Parse("10.9.7.1"), end.Token), found => holder = found),
            KeepAsync(check.FindHolderAsync(IPAddress.Parse("10.9.7.20"), end.Token), found => nobody = found));
        Until(() => looking.IsCompletedSuccessfully);
        Assert.Matches("^([0-9a-f]{2}:){5}[0-9a-f]{2}$", holder);
        Assert.Null(nobody);

        using var leased = new BlockingCollection<DhcpLease?>();
        var client = new DhcpClient(socket, mac, "web", NobodyAsync, (now, _) => leased.Add(now), console, TimeProvider.System);
        var running = client.RunAsync(end.Token);
        Assert.True(leased.TryTake(out var lease, Limit));
        netlink.ReplaceAddress(link.Index, lease!.Address, lease.PrefixLength);
        Assert.InRange(SecondsLeft(server, leases), 1u, 600u);
        end.Cancel();
        Until(() => running.IsCanceled);
        var releasing = client.ReleaseAsync(CancellationToken.None);
        Until(() => releasing.IsCompletedSuccessfully);

        Until(() => SecondsLeft(server, leases) == 0);
    });

    private static Task<string?> NobodyAsync(IPAddress address, CancellationToken cancellationToken) => Task.FromResult<string?>(null);

    private static async Task KeepAsync(Task<string?> finding, Action<string?> keep) => keep(await finding);

    private static byte[] HardwareAddress(NetworkLink link) => Convert.FromHexString(link.Mac!.Replace(":", string.Empty, StringComparison.Ordinal));

    /// <summary>How long the only lease lasts, as the server writes it when it is told to (busybox, struct dyn_lease).</summary>
    private static uint SecondsLeft(int server, string file)
    {
        using var process = PidFd.TryOpen(ProcessIdentity.Find(server)!);
        File.WriteAllText(file, string.Empty);
        process!.Signal(10);
        Until(() => new FileInfo(file).Length >= 12);
        return BinaryPrimitives.ReadUInt32BigEndian(File.ReadAllBytes(file).AsSpan(8));
    }

    private static void WithServer(Action<int, string> test) => NetworkNamespace.Run(() =>
    {
        Assert.SkipUnless(File.Exists(Busybox) && File.Exists(Ip), $"needs {Busybox} and {Ip}");
        using var directory = new TemporaryDirectory();
        var serverNamespace = $"vt-{Guid.NewGuid().ToString("N")[..8]}";
        Run(Ip, "netns", "add", serverNamespace);
        try
        {
            Run(Ip, "link", "add", Client, "type", "veth", "peer", "name", Server, "netns", serverNamespace);
            Run(Ip, "link", "set", Client, "up");
            Run(Ip, "-n", serverNamespace, "addr", "add", "10.9.7.1/24", "dev", Server);
            Run(Ip, "-n", serverNamespace, "link", "set", Server, "up");
            File.WriteAllText(
                directory["udhcpd.conf"],
                $"start 10.9.7.20\nend 10.9.7.20\ninterface {Server}\nlease_file {directory["leases"]}\npidfile {directory["pid"]}\nopt subnet 255.255.255.0\nopt router 10.9.7.1\nopt dns 10.9.7.2\nopt domain example.org\nopt lease 600\n");
            File.WriteAllText(directory["leases"], string.Empty);
            var server = ProcessSpawner.Spawn(new SpawnRequest { Arguments = [Ip, "netns", "exec", serverNamespace, Busybox, "udhcpd", "-f", directory["udhcpd.conf"]] });
            try
            {
                test(server, directory["leases"]);
            }
            finally
            {
                Kill(server);
            }
        }
        finally
        {
            Run(Ip, "netns", "del", serverNamespace);
        }
    });

    private static void Exchange(Action endServer)
    {
        var clock = new FakeTimeProvider();
        var leases = new BlockingCollection<(DhcpLease? Now, DhcpLease? Before)>();
        using var console = new ConsoleLog(_ => { });
        using var socket = new DhcpSocket(Client);
        using var netlink = Netlink.Open();
        using var stop = new CancellationTokenSource();
        var link = netlink.GetLink(Client);
        var client = new DhcpClient(socket, HardwareAddress(link), "web", NobodyAsync, (now, before) => leases.Add((now, before)), console, clock);
        var running = client.RunAsync(stop.Token);

        // The server may start a little later than the client: then a retry finds it.
        (DhcpLease? Now, DhcpLease? Before) first;
        while (!leases.TryTake(out first, millisecondsTimeout: 500))
        {
            clock.Advance(TimeSpan.FromSeconds(64));
        }

        var lease = first.Now!;
        Assert.Equal(("10.9.7.20", 24, "10.9.7.1", "example.org"), (lease.Address.ToString(), lease.PrefixLength, lease.Server.ToString(), lease.Domain));
        Assert.Equal(("10.9.7.2", 600), (Assert.Single(lease.NameServers).ToString(), lease.Duration!.Value.TotalSeconds));
        netlink.ReplaceAddress(link.Index, lease.Address, lease.PrefixLength);

        // Half of the lease: the server is asked by unicast and answers.
        var due = client.Due;
        clock.Advance(lease.Renewal);
        Until(() => client.State == DhcpState.Bound && client.Due > due);
        Assert.Empty(leases);

        endServer();
        clock.Advance(lease.Renewal + TimeSpan.FromSeconds(1));
        Until(() => client.State == DhcpState.Renewing);
        clock.Advance(lease.Rebinding - lease.Renewal);
        Until(() => client.State == DhcpState.Rebinding);
        clock.Advance(lease.Duration.Value);
        Assert.True(leases.TryTake(out var lost, Limit));
        Assert.Equal((null, lease.Address), (lost.Now, lost.Before!.Address));

        stop.Cancel();
        Until(() => running.IsCanceled);
    }

    private static void Until(Func<bool> condition) => Assert.True(SpinWait.SpinUntil(condition, Limit));

    private static void Run(params string[] command)
    {
        using var directory = new TemporaryDirectory();
        var pid = ProcessSpawner.Spawn(new SpawnRequest { Arguments = command, OutputFile = directory["out"] });
        ProcessWait.Peek(pid);
        var exit = ProcessWait.TryReap(pid, out _);
        Assert.True(exit is { ExitCode: 0 }, $"{string.Join(' ', command)}: {exit} {File.ReadAllText(directory["out"], Encoding.UTF8)}");
    }

    private static void Kill(int pid)
    {
        using var process = ProcessIdentity.Find(pid) is { } identity ? PidFd.TryOpen(identity) : null;
        if (process is not null)
        {
            process.Signal(9);
            ProcessWait.Peek(pid);
            _ = ProcessWait.TryReap(pid, out _);
        }
    }
}
