using System.Net.Sockets;
using System.Text;
using Microsoft.Extensions.Logging.Abstractions;
using Volant.Contracts;
using Volant.Contracts.Api;
using Volant.Daemon.Hypervisors;
using Volant.Daemon.Hypervisors.CloudHypervisor;
using Volant.Linux.Kernel;
using Volant.Linux.Processes;

namespace Volant.EndToEnd.Component;

/// <summary>VMs by Cloud Hypervisor: its protocol, spoken by a stand-in that refuses what the real one refuses. There is no guest, and no KVM.</summary>
public sealed class CloudHypervisorTests : IAsyncLifetime
{
    private readonly string _programs = Directory.CreateTempSubdirectory("vt-ch-").FullName;
    private TestDaemon _daemon = null!;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    private string Program => Path.Combine(_programs, "cloud-hypervisor");

    public async ValueTask InitializeAsync()
    {
        await Workspace.InstallAsync(StandIn.Program, Program);
        _daemon = await StandIn.StartAsync(("VOLANT_HYPERVISOR", Program));
    }

    public async ValueTask DisposeAsync()
    {
        await _daemon.DisposeAsync();
        Directory.Delete(_programs, recursive: true);
    }

    [Fact]
    public async Task A_VM_starts_is_ready_over_its_vsock_socket_restarts_and_stops_by_its_power_button()
    {
        var vm = (await _daemon.CreateAsync("web", query: "?wait=ready")).As(201, ContractsJson.Default.Vm);

        Assert.Equal((VmStatus.Running, true, "cloud-hypervisor"), (vm.Status, vm.Ready, vm.Hypervisor));
        Assert.Contains("stand_in", (await _daemon.CallAsync(HttpMethod.Get, "/api/v1/vms/web/agent/hello")).Expect(200).Body, StringComparison.Ordinal);
        var again = (await _daemon.CallAsync(HttpMethod.Post, "/api/v1/vms/web/restart")).As(200, ContractsJson.Default.Vm);
        Assert.NotEqual(vm.Pid, again.Pid);

        // An agent that does not answer leaves the power button.
        (await _daemon.CreateAsync("mute", "mute-agent")).Expect(201);
        foreach (var name in new[] { "web", "mute" })
        {
            var stopped = (await _daemon.CallAsync(HttpMethod.Post, $"/api/v1/vms/{name}/stop?grace_seconds=10")).As(200, ContractsJson.Default.Vm);
            Assert.Equal((VmStatus.Stopped, "stopped on request; the guest powered off", 0), (stopped.Status, stopped.Exit!.Reason, stopped.Exit.Code));
        }

        Assert.Empty(_daemon.Hypervisors());
        Assert.Empty(Directory.GetDirectories(_daemon.RuntimeDirectory));
    }

    [Fact]
    public async Task The_system_says_which_hypervisor_and_which_version()
    {
        var info = (await _daemon.CallAsync(HttpMethod.Get, "/api/v1/system/info")).As(200, ContractsJson.Default.SystemInfo);

        Assert.Equal(["cloud-hypervisor"], info.Hypervisors);
        Assert.Equal("53.0.0", info.HypervisorVersion);
    }

    [Fact]
    public async Task An_old_one_is_refused_and_named_and_nothing_is_left()
    {
        await File.WriteAllTextAsync(Program + ".text", "#!/bin/sh\necho cloud-hypervisor v48.0\n", Cancel);
        await Workspace.InstallAsync(Program + ".text", Program + "-old");
        await using var daemon = await StandIn.StartAsync(("VOLANT_HYPERVISOR", Program + "-old"));

        var problem = (await daemon.CreateAsync("web")).As(503, ContractsJson.Default.Problem);

        Assert.Equal(ErrorCodes.HypervisorUnavailable, problem.Code);
        Assert.Contains("is Cloud Hypervisor 48.0; 52.0 or newer is needed", problem.Detail, StringComparison.Ordinal);
        Assert.Empty(await daemon.VmsAsync());
        var info = (await daemon.CallAsync(HttpMethod.Get, "/api/v1/system/info")).As(200, ContractsJson.Default.SystemInfo);
        Assert.Empty(info.Hypervisors);
        Assert.Contains("52.0 or newer is needed", info.HypervisorError, StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_it_refuses_comes_back_in_its_own_words_and_leaves_nothing()
    {
        var problem = (await _daemon.CreateAsync("web", "exec-fail")).As(503, ContractsJson.Default.Problem);

        Assert.Contains("vm.boot was refused (500): Error from API: The VM could not boot: told to fail.", problem.Detail, StringComparison.Ordinal);
        Assert.Empty(await _daemon.VmsAsync());
        Assert.Empty(_daemon.Hypervisors());
        Assert.Empty(Directory.GetDirectories(_daemon.RuntimeDirectory));
    }

    [Theory]
    [InlineData("panic-after:300", "the guest's kernel panicked")]
    [InlineData("reset-after:300", "the guest rebooted or its kernel panicked")]
    [InlineData("crash-after:300", "the hypervisor exited with code 9")]
    public async Task A_guest_that_ends_by_itself_is_never_started_again_in_place(string fault, string reason)
    {
        (await _daemon.CreateAsync("web", fault)).Expect(201);

        var vm = await _daemon.UntilAsync("web", vm => vm.Status == VmStatus.Crashed);

        Assert.Equal(reason, vm.Exit!.Reason);
        Assert.Empty(_daemon.Hypervisors());
    }

    [Fact]
    public async Task Another_daemon_finds_its_VMs_their_consoles_and_what_happens_to_them()
    {
        var vm = (await _daemon.CreateAsync("web", query: "?wait=ready")).As(201, ContractsJson.Default.Vm);
        var log = Path.Combine(_daemon.LogDirectory, vm.Uid.ToString(), "console.log");
        Assert.Equal("the stand-in has no guest\n", await UntilLogAsync(log, text => text.Length > 0));
        Assert.Contains("typed: hello", await TypeAsync(vm, "hello\n"), StringComparison.Ordinal);

        await _daemon.EndAsync(Signals.Kill);
        await _daemon.StartAsync();

        var adopted = await _daemon.UntilAsync("web", each => each.Ready);
        Assert.Equal((vm.Pid, VmStatus.Running), (adopted.Pid, adopted.Status));
        Assert.Contains("typed: again", await TypeAsync(vm, "again\n"), StringComparison.Ordinal);
        await UntilLogAsync(log, text => text.Contains("typed: hello", StringComparison.Ordinal) && text.Contains("typed: again", StringComparison.Ordinal));
        _ = await TypeAsync(vm, "reset\n");
        var crashed = await _daemon.UntilAsync("web", each => each.Status == VmStatus.Crashed);
        Assert.Equal("the guest rebooted or its kernel panicked", crashed.Exit!.Reason);
    }

    [Fact]
    public async Task A_daemon_that_was_told_to_use_another_hypervisor_keeps_its_VMs()
    {
        var vm = (await _daemon.CreateAsync("web", query: "?wait=ready")).As(201, ContractsJson.Default.Vm);
        await _daemon.EndAsync(Signals.Terminate);
        _daemon.Set("VOLANT_HYPERVISOR", StandIn.Program);
        await _daemon.StartAsync();

        var adopted = await _daemon.UntilAsync("web", each => each.Ready);
        Assert.Equal(vm.Pid, adopted.Pid);
        var other = (await _daemon.CreateAsync("other", query: "?wait=ready")).As(201, ContractsJson.Default.Vm);
        Assert.Equal(("cloud-hypervisor", "qemu"), (adopted.Hypervisor, other.Hypervisor));
        (await _daemon.CallAsync(HttpMethod.Delete, "/api/v1/vms/web")).Expect(204);
    }

    [Fact]
    public async Task A_monitor_that_runs_nothing_yet_when_its_daemon_dies_is_ended_by_the_next()
    {
        var creating = _daemon.CreateAsync("web", "hang-boot");
        await _daemon.UntilAsync(() => Task.FromResult(_daemon.Hypervisors().Count == 1), "the monitor runs");
        await _daemon.EndAsync(Signals.Kill);

        // Whichever is seen first: the daemon's end, or that of the client that goes with it.
        Assert.True(await Assert.ThrowsAnyAsync<Exception>(() => creating) is HttpRequestException or OperationCanceledException);
        await _daemon.StartAsync();

        await _daemon.UntilAsync(() => Task.FromResult(_daemon.Hypervisors().Count == 0), "it is ended");
        var vm = await _daemon.UntilAsync("web", each => each.Status == VmStatus.Crashed);
        Assert.Equal("the hypervisor ended while the daemon was down", vm.Exit!.Reason);
    }

    [Fact]
    public async Task A_VM_with_a_network_gets_its_tap_open_and_is_a_user_without_rights_all_the_same()
    {
        Assert.SkipUnless(EffectiveUser.Id == 0 && FileView.IsPossible(), "only root with CAP_SYS_ADMIN can run hypervisors as other users");
        var space = $"vt-{Guid.NewGuid().ToString("N")[..8]}";
        var added = await Command.RunAsync(["ip", "netns", "add", space]);
        Assert.SkipUnless(added.ExitCode == 0, $"this machine refuses network namespaces: {added.Error}");
        try
        {
            await using var daemon = await StandIn.StartAsync(["ip", "netns", "exec", space], ("VOLANT_HYPERVISOR", Program));
            for (var run = 0; run < 2; run++)
            {
                var vm = run == 0
                    ? (await daemon.CreateAsync("web", config: """{"network": {"mode": "bridged"}}""", query: "?wait=ready")).As(201, ContractsJson.Default.Vm)
                    : (await daemon.CallAsync(HttpMethod.Post, "/api/v1/vms/web/restart?wait=ready")).As(200, ContractsJson.Default.Vm);
                var process = $"/proc/{vm.Pid}";
                var taps = Directory.GetFiles($"{process}/fdinfo").SelectMany(File.ReadLines).Where(line => line.StartsWith("iff:", StringComparison.Ordinal));
                Assert.StartsWith("iff:\tv", Assert.Single(taps), StringComparison.Ordinal);
                Assert.Matches("(?m)^Uid:\t200[0-9]{3}\t", await File.ReadAllTextAsync($"{process}/status", Cancel));
                Assert.Matches("(?m)^CapEff:\t0+$", await File.ReadAllTextAsync($"{process}/status", Cancel));
            }
        }
        finally
        {
            await Command.RunAsync(["ip", "netns", "delete", space]);
        }
    }

    [Fact]
    public async Task A_VM_is_paused_resumed_and_counted_and_a_command_at_the_wrong_time_is_refused_with_its_reason()
    {
        var launcher = new CloudHypervisorLauncher(Program, TimeProvider.System, NullLogger<CloudHypervisorLauncher>.Instance);
        var uid = Guid.NewGuid();
        var paths = new VmPaths(Path.Combine(_programs, uid.ToString("D")), _programs);
        Directory.CreateDirectory(paths.Directory);
        var disk = Path.Combine(_programs, "disk");
        await File.WriteAllBytesAsync(disk, new byte[4096], Cancel);
        var spec = new LaunchSpec
        {
            Uid = uid,
            CpuCores = 1,
            MemoryMib = 64,
            Kernel = Path.Combine(Workspace.Kernel, "bzImage"),
            KernelArguments = "console=ttyS0",
            VsockCid = 3,
            Disks = [new DiskSpec(disk, DiskSpec.Raw, ReadOnly: false, "data")],
            Paths = paths,
        };
        await using var vm = (CloudHypervisorProcess)await launcher.LaunchAsync(spec, _ => Task.CompletedTask, Cancel);

        await vm.PauseAsync(Cancel);
        Assert.Equal("Paused", await vm.QueryStateAsync(Cancel));
        var refusal = await Assert.ThrowsAsync<CloudHypervisorException>(() => vm.PauseAsync(Cancel));
        Assert.Equal("vm.pause was refused (500): Error from API: Invalid state transition from Paused.", refusal.Message);
        await vm.ResumeAsync(Cancel);
        Assert.Equal("Running", await vm.QueryStateAsync(Cancel));
        Assert.Equal(4096, (await vm.CountersAsync(Cancel))["disk0"]["read_bytes"]);
        await vm.KillAsync();
        Assert.Equal(new HypervisorExit(0, null, "host-signal"), await vm.Exited);
        await Assert.ThrowsAsync<CloudHypervisorException>(() => vm.PauseAsync(Cancel));
    }

    /// <summary>What the console says to some input.</summary>
    private static async Task<string> TypeAsync(Vm vm, string text)
    {
        using var serial = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        await serial.ConnectAsync(new UnixDomainSocketEndPoint(vm.SerialSocket), Cancel);
        await serial.SendAsync(Encoding.UTF8.GetBytes(text), Cancel);
        var buffer = new byte[4096];
        return Encoding.UTF8.GetString(buffer, 0, await serial.ReceiveAsync(buffer, Cancel));
    }

    private async Task<string> UntilLogAsync(string path, Func<string, bool> condition)
    {
        var text = string.Empty;
        await _daemon.UntilAsync(
            async () =>
            {
                text = File.Exists(path) ? await File.ReadAllTextAsync(path, Cancel) : string.Empty;
                return condition(text);
            },
            "the console log is as expected");
        return text;
    }
}
