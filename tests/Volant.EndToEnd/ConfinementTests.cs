using System.Globalization;
using Volant.Linux.Processes;

namespace Volant.EndToEnd;

/// <summary>What the hypervisor of a real VM may do, looked at with its own identity (S17).</summary>
public sealed class ConfinementTests(Workspace workspace) : IAsyncLifetime
{
    private readonly TestDaemon _daemon = new();

    public async ValueTask InitializeAsync()
    {
        Assert.SkipUnless(EffectiveUser.Id == 0 && FileView.IsPossible(), "only root with CAP_SYS_ADMIN can run hypervisors as other users");
        await _daemon.StartAsync();
        await _daemon.InstallAsync(workspace.ProbeManifest);
    }

    public ValueTask DisposeAsync() => _daemon.DisposeAsync();

    [Fact]
    public async Task A_hypervisor_is_a_user_of_its_own_without_rights_that_sees_only_its_files()
    {
        var one = await _daemon.CreateReadyAsync("one");
        var other = await _daemon.CreateReadyAsync("other");
        var (uid, status) = Status(one.Pid!.Value);

        Assert.InRange(uid, 200_000u, 265_535u);
        Assert.NotEqual(uid, Status(other.Pid!.Value).Uid);
        Assert.Equal($"{uid}\t{uid}\t{uid}\t{uid}", status["Gid"]);
        foreach (var set in new[] { "CapInh", "CapPrm", "CapEff", "CapAmb" })
        {
            Assert.Equal(0ul, ulong.Parse(status[set], NumberStyles.HexNumber, CultureInfo.InvariantCulture));
        }

        // QEMU's own filter, and the one that lets it make Unix sockets alone.
        Assert.Equal(("1", "2"), (status["NoNewPrivs"], status["Seccomp"]));
        Assert.Equal("2", status.GetValueOrDefault("Seccomp_filters", "2"));
        Assert.Empty(await File.ReadAllTextAsync($"/proc/{one.Pid}/environ", TestContext.Current.CancellationToken));

        // With its identity, by its own view: what it needs, and nothing else.
        var view = $"/proc/{one.Pid}/root";
        Assert.DoesNotContain("proc", await ListAsync(uid, view));
        Assert.DoesNotContain("shadow", await ListAsync(uid, $"{view}/etc"));
        Assert.Empty((await ListAsync(uid, $"{view}/dev")).Except(["null", "urandom", "random", "kvm", "net", "vhost-net", "vhost-vsock"]));
        Assert.Equal([one.Uid.ToString()], await ListAsync(uid, view + _daemon.RuntimeDirectory));
        Assert.Equal(["console.log", "hypervisor.log"], await ListAsync(uid, $"{view}{_daemon.LogDirectory}/{one.Uid}"));
        Assert.False(await TryAsync(uid, "touch", $"{view}/x"));
        Assert.False(await TryAsync(uid, "touch", $"{view}/usr/lib/x"));
        Assert.True(await TryAsync(uid, "touch", $"{view}{_daemon.RuntimeDirectory}/{one.Uid}/x"));

        // With its identity, on the host itself.
        foreach (var path in new[] { _daemon.Variables["VOLANT_DB_PATH"], $"{_daemon.LogDirectory}/{other.Uid}/console.log", $"{_daemon.RuntimeDirectory}/{other.Uid}/control.sock", "/etc/shadow" })
        {
            Assert.True(File.Exists(path), path);
            Assert.False(await TryAsync(uid, "cat", path), path);
        }

        Assert.False(await TryAsync(uid, "ls", $"/proc/{other.Pid}/root"));
        Assert.False(await TryAsync(uid, "kill", "-0", $"{other.Pid}"));
        Assert.False(await TryAsync(uid, "kill", "-0", $"{_daemon.Pid}"));
    }

    [Fact]
    public async Task A_VM_whose_user_is_another_now_starts_again()
    {
        var vm = await _daemon.CreateReadyAsync("one");
        await _daemon.EndAsync(9);
        _daemon.Set("VOLANT_VM_UIDS", "300000-300009");
        await _daemon.StartAsync();

        Assert.Equal(vm.Pid, (await _daemon.UntilAsync("one", each => each.Ready)).Pid);
        using (var restarted = await _daemon.PostAsync("/api/v1/vms/one/restart?wait=ready"))
        {
            Assert.True(restarted.IsSuccessStatusCode, _daemon.Logs());
        }

        Assert.InRange(Status((await _daemon.FindAsync("one"))!.Pid!.Value).Uid, 300_000u, 300_009u);
        await _daemon.EndAsync(15);
        _daemon.Set("VOLANT_VM_UIDS", "off");
        await _daemon.StartAsync();
        using (var restarted = await _daemon.PostAsync("/api/v1/vms/one/restart?wait=ready"))
        {
            Assert.True(restarted.IsSuccessStatusCode, _daemon.Logs());
        }

        Assert.Equal(0u, Status((await _daemon.FindAsync("one"))!.Pid!.Value).Uid);
    }

    /// <summary>The unit that setup and the package install: not root, with no more rights than it takes to give hypervisors users of their own.</summary>
    [Fact]
    public async Task The_rights_of_the_installed_service_are_enough_for_VMs_with_users_of_their_own_and_for_finding_them_again()
    {
        await using var daemon = new TestDaemon(prefix: await ServiceRights.CommandAsync());
        await ServiceRights.GiveAsync(daemon);
        await daemon.StartAsync();
        await daemon.InstallAsync(workspace.ProbeManifest);
        var vm = await daemon.CreateReadyAsync("one");
        Assert.Equal(ServiceRights.User, Status(daemon.Pid).Uid);
        await daemon.EndAsync(9);
        await daemon.StartAsync();
        Assert.Equal(vm.Pid, (await daemon.UntilAsync("one", each => each.Ready)).Pid);

        var (uid, status) = Status(vm.Pid!.Value);
        Assert.InRange(uid, 200_000u, 265_535u);
        Assert.All(["CapInh", "CapPrm", "CapEff", "CapAmb"], set => Assert.Equal("0000000000000000", status[set]));
        using (var restarted = await daemon.PostAsync("/api/v1/vms/one/restart?wait=ready"))
        {
            Assert.True(restarted.IsSuccessStatusCode, daemon.Logs());
        }

        Assert.Equal("hello from one", await daemon.Client.GetStringAsync("/api/v1/vms/one/agent/", TestContext.Current.CancellationToken));
        Assert.NotEmpty(await daemon.Client.GetStringAsync("/api/v1/vms/one/logs", TestContext.Current.CancellationToken));

        // One that no record names is found although nobody may see what another user's process executes.
        await daemon.EndAsync(9);
        await daemon.StartWithoutRecordsAsync();
    }

    private static (uint Uid, Dictionary<string, string> All) Status(int pid)
    {
        var all = File.ReadLines($"/proc/{pid}/status").Select(line => line.Split(':', 2)).ToDictionary(parts => parts[0], parts => parts[1].Trim(), StringComparer.Ordinal);
        return (uint.Parse(all["Uid"].Split('\t')[0], CultureInfo.InvariantCulture), all);
    }

    private static async Task<string[]> ListAsync(uint uid, string directory)
    {
        var result = await RunAsync(uid, "ls", directory);
        Assert.True(result.ExitCode == 0, result.ToString());
        return result.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries);
    }

    private static async Task<bool> TryAsync(uint uid, params string[] command) => (await RunAsync(uid, command)).ExitCode == 0;

    /// <summary>Runs a program with a hypervisor's identity.</summary>
    private static Task<CommandResult> RunAsync(uint uid, params string[] command) =>
        Command.RunAsync(["/usr/bin/setpriv", $"--reuid={uid}", $"--regid={uid}", "--clear-groups", "--no-new-privs", .. command]);
}
