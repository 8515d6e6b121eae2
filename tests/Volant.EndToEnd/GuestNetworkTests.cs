using System.Text.Json;
using Volant.Contracts.Api;
using Volant.Daemon.Networking;

namespace Volant.EndToEnd;

/// <summary>Two real guests on a bridge, one by DHCP, in a network namespace that the test makes and removes: whom they reach, and as whom.</summary>
public sealed class GuestNetworkTests : IAsyncLifetime
{
    private const string Host = "192.168.127.1";

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
        _daemon = new TestDaemon(new Dictionary<string, string>(StringComparer.Ordinal) { ["VOLANT_DNS_SERVERS"] = "none" }, ["ip", "netns", "exec", _namespace]);
    }

    [Fact]
    public async Task A_guest_has_its_address_and_name_by_DHCP_and_reaches_neither_host_nor_others_nor_as_another()
    {
        // The test disposes of the daemon.
        var guest = await BoxGuest.StartAsync(_directory, "exec sleep 100000", _daemon, """{"network": {"mode": "dhcp"}}""");
        var other = await _daemon!.CreateReadyAsync("other", "box", """{"network": {"mode": "bridged"}, "api": {"host": "0.0.0.0", "port": 9000}}""");
        var own = (await _daemon.FindAsync("box"))!;
        Assert.Equal(("192.168.127.2", "192.168.127.3"), (own.IpAddress, other.IpAddress));
        await _daemon.UntilAsync("box", _ => true);
        using var listener = Command.Start(["ip", "netns", "exec", _namespace, "busybox", "nc", "-lk", "-p", "7777", "-e", "/bin/true"]);

        Assert.Contains($"inet {own.IpAddress}/24", await UntilAsync(guest, "ip -4 addr show dev eth0 | grep inet"), StringComparison.Ordinal);
        Assert.Contains($"nameserver {Host}", await guest.RunAsync("cat /etc/resolv.conf"), StringComparison.Ordinal);
        Assert.Contains(other.IpAddress, await UntilAsync(guest, $"nslookup other.volant.internal {Host}"), StringComparison.Ordinal);
        Assert.Contains(own.IpAddress, await guest.RunAsync($"nslookup box.volant.internal {Host}"), StringComparison.Ordinal);
        await guest.RunAsync($"ping -c 1 -W 10 {Host}");
        await FailsAsync(guest, $"nc -w 3 {Host} 7777 </dev/null");
        await FailsAsync(guest, $"nc -w 3 {other.IpAddress} 9000 </dev/null");
        await FailsAsync(guest, $"ping -c 1 -W 3 {other.IpAddress}");
        await guest.RunAsync("ip addr add 192.168.127.77/24 dev eth0");
        await FailsAsync(guest, $"ping -c 1 -W 3 -I 192.168.127.77 {Host}");
        await guest.RunAsync($"ip link set eth0 address 02:00:00:00:00:77 && ip neigh flush dev eth0; ip link set eth0 up; true");
        await FailsAsync(guest, $"ping -c 1 -W 3 -I {own.IpAddress} {Host}");
        Assert.Equal(VmStatus.Running, (await _daemon.FindAsync("box"))!.Status);
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
