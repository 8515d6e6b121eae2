using Volant.Cli.Doctor;

namespace Volant.Tests.Cli;

public sealed class HostCheckTests
{
    [Fact]
    public async Task A_host_without_anything_is_told_what_is_missing_and_how_to_get_it()
    {
        using var root = new SetupRoot();

        var checks = await RunAsync(root);

        foreach (var name in new[] { "hypervisor", "qemu-img", "kernel", "cgroups", "vsock", HostChecks.Forwarding, "nftables", "dnsmasq" })
        {
            Assert.True(checks[name].Result is CheckResult.Warning or CheckResult.Failed, name);
            Assert.NotNull(checks[name].Remedy);
        }

        Assert.DoesNotContain("cloud-hypervisor", checks.Keys);
    }

    [Fact]
    public async Task What_is_there_is_found()
    {
        using var root = new SetupRoot();
        root.Write("proc/sys/net/ipv4/ip_forward", "1\n");
        foreach (var file in new[] { "usr/sbin/dnsmasq", "usr/bin/qemu-img", "usr/bin/qemu-system-x86_64", "usr/lib/x86_64-linux-gnu/libnftables.so.1", "sys/fs/cgroup/cgroup.controllers", "dev/vhost-vsock", "var/lib/volant/kernel/bzImage" })
        {
            Directory.CreateDirectory(Path.GetDirectoryName(root.At(file))!);
            root.Write(file, string.Empty);
        }

        var checks = await RunAsync(root);

        foreach (var name in new[] { "hypervisor", "qemu-img", "kernel", "cgroups", "vsock", HostChecks.Forwarding, "nftables", "dnsmasq" })
        {
            Assert.True(checks[name].Result == CheckResult.Ok, $"{name}: {checks[name].Message}");
        }
    }

    [Theory]
    [InlineData("pilot:165536:65536\n", true)]
    [InlineData("pilot:100000:65536\nother:265536:65536\n", false)]
    [InlineData("garbage\npilot:x:y\n", false)]
    public async Task Users_of_hypervisors_that_somebody_else_has_are_told(string subordinate, bool taken)
    {
        using var root = new SetupRoot();
        root.Write("etc/subgid", subordinate);

        var check = (await RunAsync(root))["users"];

        Assert.Equal(taken ? CheckResult.Warning : CheckResult.Ok, check.Result);
        Assert.Equal(taken, check.Remedy is not null);
    }

    [Theory]
    [InlineData("echo cloud-hypervisor v52.0.0", "v52.0.0", true)]
    [InlineData("echo cloud-hypervisor v101.1-dirty", "v101.1-dirty", true)]
    [InlineData("echo cloud-hypervisor v51.1.0", "older than v52", false)]
    [InlineData("echo something else", "something else", false)]
    [InlineData("exec /nonexistent", "cannot be told", false)]
    public async Task The_version_of_Cloud_Hypervisor_is_asked_for(string script, string shows, bool good)
    {
        using var root = new SetupRoot();
        root.Program("usr/bin/cloud-hypervisor", script);

        var check = (await RunAsync(root))["cloud-hypervisor"];

        Assert.Equal(good ? CheckResult.Ok : CheckResult.Warning, check.Result);
        Assert.Contains(shows, check.Message, StringComparison.Ordinal);
    }

    /// <summary>The limit is reached at once by a clock that jumps; the program would sleep for as long as the test has.</summary>
    [Fact]
    public async Task A_hypervisor_that_never_answers_is_ended()
    {
        using var root = new SetupRoot();
        root.Program("usr/bin/cloud-hypervisor", "exec sleep 1000");

        var check = (await RunAsync(root, new JumpingClock(TimeSpan.FromMinutes(1))))["cloud-hypervisor"];

        Assert.Contains("no answer within 5 s", check.Message, StringComparison.Ordinal);
    }

    private static async Task<Dictionary<string, Check>> RunAsync(SetupRoot root, TimeProvider? clock = null)
    {
        var checks = new Dictionary<string, Check>(StringComparer.Ordinal);
        await foreach (var check in new HostChecks(new HostRoot(_ => null, root.Path), clock ?? TimeProvider.System).RunAsync(TestContext.Current.CancellationToken))
        {
            checks.Add(check.Name, check);
        }

        return checks;
    }
}
