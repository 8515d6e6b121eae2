using System.Text.Json;
using Volant.Contracts.Api;
using Volant.Daemon.Networking;

namespace Volant.EndToEnd;

/// <summary>Real guests on a bridge, one by DHCP, with IPv4 and IPv6, in a network namespace that the test makes and removes: whom they reach, and as whom.</summary>
public sealed class GuestNetworkTests : IAsyncLifetime
{
    private const string Host = "192.168.127.1";
    private const string Host6 = "fd3c:51a0:77ee::c0a8:7f01";

    private readonly string _namespace = $"vt-{Guid.NewGuid().ToString("N")[..8]}";
    private readonly string _directory = Directory.CreateTempSubdirectory("vt-net-").FullName;
    private TestDaemon? _daemon;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        Assert.SkipUnless(Environment.UserName == "root", "making network namespaces and taps needs root");
        Assert.SkipUnless(GuestServices.FindProgram() is not null, "needs dnsmasq (scripts/deps.sh test)");
        var added = await Command.RunAsync(["ip", "netns", "add", _namespace]);
        Assert.SkipUnless(added.ExitCode == 0, $"this machine refuses network namespaces: {added.Error}");
        Leftovers.Add(this, RemoveAsync);
    }

    [Fact]
    public async Task A_guest_has_its_address_and_name_by_DHCP_and_reaches_neither_host_nor_others_nor_as_another()
    {
        Make();

        // The test disposes of the daemon.
        var guest = await BoxGuest.StartAsync(_directory, "exec sleep 100000", _daemon, """{"network": {"mode": "dhcp"}}""");
        var other = await guest.Daemon.CreateReadyAsync("other", "box", """{"network": {"mode": "bridged"}, "api": {"host": "0.0.0.0", "port": 9000}}""");
        var own = (await guest.Daemon.FindAsync("box"))!;
        Assert.Equal(("192.168.127.2", "192.168.127.3"), (own.IpAddress, other.IpAddress));
        using var listener = Command.Start(["ip", "netns", "exec", _namespace, "busybox", "nc", "-lk", "-p", "7777", "-e", "/bin/true"]);

        Assert.Contains($"inet {own.IpAddress}/24", await UntilAsync(guest, "ip -4 addr show dev eth0 | grep inet"), StringComparison.Ordinal);
        Assert.Equal(("fd3c:51a0:77ee::c0a8:7f02", "fd3c:51a0:77ee::c0a8:7f03"), (own.Ipv6Address, other.Ipv6Address));
        Assert.Contains($"inet6 {own.Ipv6Address}/64", await guest.RunAsync("ip -6 addr show dev eth0"), StringComparison.Ordinal);
        Assert.Contains(other.Ipv6Address!, await UntilAsync(guest, $"nslookup -type=aaaa other.volant.internal {Host}"), StringComparison.Ordinal);
        await guest.RunAsync($"ping6 -c 1 -W 10 {Host6}");
        await FailsAsync(guest, $"ping6 -c 1 -W 3 {other.Ipv6Address}");
        Assert.Contains($"nameserver {Host}", await guest.RunAsync("cat /etc/resolv.conf"), StringComparison.Ordinal);
        Assert.Contains(other.IpAddress, await UntilAsync(guest, $"nslookup other.volant.internal {Host}"), StringComparison.Ordinal);
        Assert.Contains(own.IpAddress, await guest.RunAsync($"nslookup box.volant.internal {Host}"), StringComparison.Ordinal);

        // One that never asks by DHCP was told by its boot whom to ask for names.
        var named = await guest.TryAsync("busybox nslookup box.volant.internal", vm: "other");
        Assert.True(named.ExitCode == 0 && named.Stdout.Contains(own.IpAddress, StringComparison.Ordinal), named.ToString());
        await guest.RunAsync($"ping -c 1 -W 10 {Host}");
        await FailsAsync(guest, $"nc -w 3 {Host} 7777 </dev/null");
        await FailsAsync(guest, $"nc -w 3 {other.IpAddress} 9000 </dev/null");
        await FailsAsync(guest, $"ping -c 1 -W 3 {other.IpAddress}");
        await guest.RunAsync("ip addr add 192.168.127.77/24 dev eth0");
        await FailsAsync(guest, $"ping -c 1 -W 3 -I 192.168.127.77 {Host}");
        await guest.RunAsync($"ip link set eth0 address 02:00:00:00:00:77 && ip neigh flush dev eth0; ip link set eth0 up; true");
        await FailsAsync(guest, $"ping -c 1 -W 3 -I {own.IpAddress} {Host}");
        Assert.Equal(VmStatus.Running, (await guest.Daemon.FindAsync("box"))!.Status);
    }

    [Fact]
    public async Task The_installed_service_serves_its_guests_without_root_and_they_are_its_users()
    {
        // Open to all by udev's rules; here it may not be.
        var tun = Path.Combine(_directory, "tun");
        var made = await Command.RunAsync(["sh", "-c", $"mknod -m 666 {tun} c 10 200"]);
        Assert.SkipUnless(made.ExitCode == 0, $"this machine refuses devices: {made.Error}");
        Make(["sh", "-c", "mount --bind \"$0\" /dev/net/tun && exec \"$@\"", tun, .. await ServiceRights.CommandAsync()]);
        await ServiceRights.GiveAsync(_daemon!);

        // The test disposes of the daemon.
        var guest = await BoxGuest.StartAsync(_directory, "exec sleep 100000", _daemon, """{"network": {"mode": "dhcp"}}""");

        var vm = (await guest.Daemon.FindAsync("box"))!;
        Assert.Equal("192.168.127.2", vm.IpAddress);
        Assert.Contains($"inet {vm.IpAddress}/24", await UntilAsync(guest, "ip -4 addr show dev eth0 | grep inet"), StringComparison.Ordinal);
        Assert.Contains(vm.IpAddress, await guest.RunAsync($"nslookup box.volant.internal {Host}"), StringComparison.Ordinal);
        Assert.Contains("CapEff:\t0000000000000000", await File.ReadAllTextAsync($"/proc/{vm.Pid}/status", Cancel), StringComparison.Ordinal);
        Assert.Matches("persist user 2[0-9]{5}", (await Command.RunAsync(["ip", "-n", _namespace, "tuntap", "show"])).Output);
    }

    public async ValueTask DisposeAsync()
    {
        if (_daemon is not null)
        {
            await _daemon.DisposeAsync();
            Assert.False(Directory.Exists(GuestServices.DirectoryFor(_daemon.RuntimeDirectory)));
            Assert.Equal(0, JsonDocument.Parse((await Command.RunAsync(["ip", "-n", _namespace, "-j", "tuntap", "show"])).Output).RootElement.GetArrayLength());
        }

        Leftovers.Forget(this);
        await RemoveAsync();
    }

    /// <summary>The daemon, in the namespace, started by way of a command.</summary>
    private void Make(params string[] command) =>
        _daemon = new TestDaemon(new Dictionary<string, string>(StringComparer.Ordinal) { ["VOLANT_DNS_SERVERS"] = "none", ["VOLANT_SUBNET6"] = "fd3c:51a0:77ee::/64" }, ["ip", "netns", "exec", _namespace, .. command]);

    private async Task RemoveAsync()
    {
        await Command.RunAsync(["ip", "netns", "del", _namespace]);
        Directory.Delete(_directory, recursive: true);
    }

    private static async Task FailsAsync(BoxGuest guest, string script) => Assert.NotEqual(0, (await guest.TryAsync(script)).ExitCode);

    private static async Task<string> UntilAsync(BoxGuest guest, string script)
    {
        var started = TimeProvider.System.GetTimestamp();
        while (true)
        {
            var result = await guest.TryAsync(script);
            if (result.ExitCode == 0)
            {
                return result.Stdout;
            }

            Assert.True(TimeProvider.System.GetElapsedTime(started).TotalSeconds < 60, $"{script}: {result}");
            await Task.Delay(TimeSpan.FromMilliseconds(200), TimeProvider.System, Cancel);
        }
    }
}
