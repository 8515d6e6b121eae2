using System.Diagnostics;
using System.Net.Sockets;
using Microsoft.Extensions.Logging.Abstractions;
using Volant.Contracts.Api;
using Volant.Daemon;
using Volant.Daemon.Hypervisors;
using Volant.Daemon.Hypervisors.Qemu;
using Volant.Linux.IO;
using Volant.Linux.Processes;

namespace Volant.Tests.Hypervisors;

/// <summary>A real QEMU with kernels of a few instructions; skipped where there is none.</summary>
public sealed class QemuLauncherTests : IDisposable
{
    private readonly TemporaryDirectory _directory = new();
    private readonly QemuLauncher _launcher = NewLauncher();

    private static CancellationToken Cancelled => TestContext.Current.CancellationToken;

    /// <summary>A test that fails has no time to end what it started.</summary>
    public void Dispose()
    {
        foreach (var pid in ProcessIdentity.AllPids().Where(pid => ProcessIdentity.CommandLine(pid).Any(word => word.Contains(_directory.Path, StringComparison.Ordinal))))
        {
            using var process = ProcessIdentity.Find(pid) is { } identity ? PidFd.TryOpen(identity) : null;
            process?.Signal(9);
        }

        _directory.Dispose();
    }

    [Fact]
    public async Task Launch_starts_pauses_resumes_and_kills()
    {
        SkipWithoutQemu();
        VmHandle? started = null;

        await using var vm = (QemuProcess)await _launcher.LaunchAsync(
            Spec(TinyKernel.Halting),
            handle =>
            {
                started = handle;
                return Task.CompletedTask;
            },
            Cancelled);

        Assert.Equal(vm.Handle, started);
        Assert.True(vm.Handle.Process.IsAlive());
        Assert.Equal("running", await vm.QueryStatusAsync(Cancelled));
        await vm.PauseAsync(Cancelled);
        Assert.Equal("paused", await vm.QueryStatusAsync(Cancelled));
        await vm.ResumeAsync(Cancelled);
        Assert.Equal("running", await vm.QueryStatusAsync(Cancelled));
        await vm.RequestPowerOffAsync(Cancelled);
        await vm.KillAsync();
        Assert.Equal(new HypervisorExit(0, null, "host-signal"), await vm.Exited);
        Assert.False(vm.Handle.Process.IsAlive());
        await vm.KillAsync();
        await Assert.ThrowsAsync<QmpException>(() => vm.PauseAsync(Cancelled));
    }

    [Fact]
    public async Task The_process_owes_nothing_to_its_parent()
    {
        SkipWithoutQemu();
        await using var vm = await LaunchAsync(Spec(TinyKernel.Halting));
        var pid = vm.Handle.Process.Pid;
        try
        {
            Assert.Equal(string.Empty, await File.ReadAllTextAsync($"/proc/{pid}/environ", Cancelled));
            Assert.Equal($"{pid}", (await File.ReadAllTextAsync($"/proc/{pid}/stat", Cancelled)).Split(") ")[^1].Split(' ')[3]);
            Assert.Contains("Seccomp:\t2", await File.ReadAllTextAsync($"/proc/{pid}/status", Cancelled), StringComparison.Ordinal);
            Assert.Equal(vm.Handle.Paths.HypervisorLog, File.ResolveLinkTarget($"/proc/{pid}/fd/2", false)!.FullName);
            Assert.StartsWith("volant-", await File.ReadAllTextAsync($"/proc/{pid}/comm", Cancelled), StringComparison.Ordinal);
        }
        finally
        {
            await vm.KillAsync();
        }
    }

    [Theory]
    [InlineData('p', "guest-shutdown")]
    [InlineData('r', "guest-reset")]
    public async Task Exited_tells_what_the_guest_did(char command, string reason)
    {
        SkipWithoutQemu();
        await using var vm = await LaunchAsync(Spec(TinyKernel.Obedient));
        using var serial = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        await serial.ConnectAsync(new UnixDomainSocketEndPoint(vm.Handle.Paths.SerialSocket), Cancelled);

        await serial.SendAsync(new[] { (byte)command }, Cancelled);

        Assert.Equal(new HypervisorExit(0, null, reason), await vm.Exited.WaitAsync(Cancelled));
    }

    [Fact]
    public async Task Exited_tells_a_kill_from_outside()
    {
        SkipWithoutQemu();
        await using var vm = await LaunchAsync(Spec(TinyKernel.Halting));

        SignalFromOutside(vm.Handle.Process, 9);

        Assert.Equal(new HypervisorExit(null, 9, null), await vm.Exited.WaitAsync(Cancelled));
    }

    [Fact]
    public async Task Kill_ends_a_process_that_does_not_react()
    {
        SkipWithoutQemu();
        await using var vm = await LaunchAsync(Spec(TinyKernel.Halting));
        SignalFromOutside(vm.Handle.Process, 19);

        await vm.KillAsync();

        Assert.Equal(9, (await vm.Exited).Signal);
    }

    [Fact]
    public async Task Launch_on_q35_with_disks_works()
    {
        SkipWithoutQemu();
        var disk = _directory.File("disk.raw", new byte[1 << 20]);
        var spec = Spec(TinyKernel.Halting) with
        {
            Disks = [.. Enumerable.Range(0, 22).Select(i => new DiskSpec(disk, "raw", ReadOnly: true, $"d{i}"))],
        };

        await using var vm = (QemuProcess)await LaunchAsync(spec);

        Assert.Equal("running", await vm.QueryStatusAsync(Cancelled));
        await vm.KillAsync();
    }

    [Fact]
    public async Task Launch_reports_a_disk_in_use_with_the_hypervisors_words_and_leaves_nothing_behind()
    {
        SkipWithoutQemu();
        var disk = new DiskSpec(_directory.File("disk.raw", new byte[1 << 20]), "raw", ReadOnly: false, "root");
        await using var first = await LaunchAsync(Spec(TinyKernel.Halting) with { Disks = [disk] });
        try
        {
            VmHandle? second = null;
            var failure = await Assert.ThrowsAsync<VolantException>(() => _launcher.LaunchAsync(
                Spec(TinyKernel.Halting) with { Disks = [disk] },
                handle =>
                {
                    second = handle;
                    return Task.CompletedTask;
                },
                Cancelled));

            Assert.Equal(ErrorCodes.HypervisorUnavailable, failure.Code);
            Assert.Contains("exited with code 1", failure.Message, StringComparison.Ordinal);
            Assert.Contains("Failed to get \"write\" lock", failure.Message, StringComparison.Ordinal);
            if (second is not null)
            {
                AssertNothingLeft(second);
            }
        }
        finally
        {
            await first.KillAsync();
        }
    }

    [Fact]
    public async Task Launch_quotes_only_what_this_launch_wrote()
    {
        SkipWithoutQemu();
        var spec = Spec(TinyKernel.Halting) with { Nic = new NicSpec("vnosuchtap00", "not a MAC address") };
        await File.WriteAllTextAsync(spec.Paths.HypervisorLog, "words of an earlier launch\n", Cancelled);

        var failure = await Assert.ThrowsAsync<VolantException>(() => LaunchAsync(spec));

        Assert.Contains("It said:", failure.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("earlier launch", failure.Message, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', failure.Message);
    }

    [Fact]
    public async Task Launch_that_cannot_be_recorded_leaves_nothing_behind()
    {
        SkipWithoutQemu();
        VmHandle? started = null;

        var failure = await Assert.ThrowsAsync<InvalidOperationException>(() => _launcher.LaunchAsync(
            Spec(TinyKernel.Halting),
            handle =>
            {
                started = handle;
                throw new InvalidOperationException("The disk is full.");
            },
            Cancelled));

        Assert.Equal("The disk is full.", failure.Message);
        AssertNothingLeft(started!);
    }

    [Fact]
    public async Task Launch_that_is_cancelled_leaves_nothing_behind()
    {
        SkipWithoutQemu();
        using var cancel = new CancellationTokenSource();
        VmHandle? started = null;

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => _launcher.LaunchAsync(
            Spec(TinyKernel.Halting),
            handle =>
            {
                started = handle;
                return cancel.CancelAsync();
            },
            cancel.Token));

        AssertNothingLeft(started!);
    }

    [Fact]
    public async Task Launch_refuses_bad_media_and_long_lines_before_anything_starts()
    {
        SkipWithoutQemu();
        var spec = Spec("not a kernel"u8.ToArray());
        Assert.Equal(ErrorCodes.InvalidMedia, (await Assert.ThrowsAsync<VolantException>(() => LaunchAsync(spec))).Code);

        spec = Spec(TinyKernel.Halting) with { Initramfs = _directory.File("initramfs", "nonsense"u8) };
        Assert.Equal(ErrorCodes.InvalidMedia, (await Assert.ThrowsAsync<VolantException>(() => LaunchAsync(spec))).Code);

        spec = Spec(TinyKernel.Halting) with { KernelArguments = new string('x', 2048) };
        Assert.Equal(ErrorCodes.Unsupported, (await Assert.ThrowsAsync<VolantException>(() => LaunchAsync(spec))).Code);
        Assert.False(File.Exists(spec.Paths.HypervisorLog));
    }

    [Fact]
    public async Task Launch_replaces_the_sockets_of_an_earlier_run()
    {
        SkipWithoutQemu();
        var spec = Spec(TinyKernel.Halting);
        await using (var first = await LaunchAsync(spec))
        {
            SignalFromOutside(first.Handle.Process, 9);
            await first.Exited.WaitAsync(Cancelled);
            Assert.True(File.Exists(spec.Paths.ControlSocket));
        }

        await using var second = (QemuProcess)await LaunchAsync(spec);
        Assert.Equal("running", await second.QueryStatusAsync(Cancelled));
        await second.KillAsync();
    }

    [Fact]
    public async Task Adopt_takes_over_and_sees_the_end()
    {
        SkipWithoutQemu();
        var launched = await LaunchAsync(Spec(TinyKernel.Halting));
        await launched.DisposeAsync();
        Assert.True(launched.Handle.Process.IsAlive());

        await using var adopted = (QemuProcess?)await NewLauncher().TryAdoptAsync(launched.Handle, Cancelled);

        Assert.NotNull(adopted);
        await adopted.PauseAsync(Cancelled);
        Assert.Equal("paused", await adopted.QueryStatusAsync(Cancelled));
        await adopted.KillAsync();
        Assert.Equal("host-signal", (await adopted.Exited).Reason);
        Assert.Null(await NewLauncher().TryAdoptAsync(launched.Handle, Cancelled));
    }

    [Fact]
    public async Task Adopt_is_not_delayed_by_a_control_socket_that_is_taken_and_connects_later()
    {
        SkipWithoutQemu();
        await using var launched = await LaunchAsync(Spec(TinyKernel.Halting));
        var clock = Stopwatch.StartNew();

        await using var adopted = (QemuProcess?)await NewLauncher().TryAdoptAsync(launched.Handle, Cancelled);

        Assert.NotNull(adopted);
        Assert.InRange(clock.Elapsed, TimeSpan.Zero, TimeSpan.FromSeconds(10));
        await launched.DisposeAsync();
        Assert.Equal("running", await adopted.QueryStatusAsync(Cancelled));
        await adopted.KillAsync();
    }

    [Fact]
    public async Task Adopt_works_without_a_control_socket()
    {
        SkipWithoutQemu();
        await using var launched = await LaunchAsync(Spec(TinyKernel.Halting));
        await launched.DisposeAsync();
        File.Delete(launched.Handle.Paths.ControlSocket);

        await using var adopted = await NewLauncher().TryAdoptAsync(launched.Handle, Cancelled);

        Assert.NotNull(adopted);
        await adopted.KillAsync();
        Assert.False(launched.Handle.Process.IsAlive());
    }

    [Fact]
    public async Task Adopt_refuses_every_other_identity()
    {
        SkipWithoutQemu();
        await using var launched = await LaunchAsync(Spec(TinyKernel.Halting));
        var handle = launched.Handle;
        try
        {
            await Refused(handle with { Uid = Guid.NewGuid() });
            await Refused(handle with { Process = handle.Process with { StartTime = handle.Process.StartTime + 1 } });
            await Refused(handle with { Process = handle.Process with { BootId = Guid.NewGuid().ToString() } });
            await Refused(handle with { Process = ProcessIdentity.Find(Environment.ProcessId)! });
            await Refused(handle with { Paths = new VmPaths(_directory.Path, _directory.Path) });

            // Somebody else serves the socket.
            File.Delete(handle.Paths.ControlSocket);
            using var impostor = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            impostor.Bind(new UnixDomainSocketEndPoint(handle.Paths.ControlSocket));
            impostor.Listen();
            await Refused(handle);
            Assert.True(handle.Process.IsAlive());
        }
        finally
        {
            await launched.KillAsync();
        }

        static async Task Refused(VmHandle handle) => Assert.Null(await NewLauncher().TryAdoptAsync(handle, Cancelled));
    }

    [Fact]
    public async Task The_control_connection_comes_back_after_it_broke()
    {
        SkipWithoutQemu();
        var launched = await LaunchAsync(Spec(TinyKernel.Halting));
        await launched.DisposeAsync();
        await using var vm = (QemuProcess?)await NewLauncher().TryAdoptAsync(launched.Handle, Cancelled);
        Assert.NotNull(vm);

        await vm.BreakControlAsync();

        Assert.Equal("running", await vm.QueryStatusAsync(Cancelled));
        await vm.KillAsync();
        Assert.Equal("host-signal", (await vm.Exited).Reason);
    }

    [Fact]
    public async Task Discover_lists_the_hypervisors_of_a_runtime_directory_only()
    {
        SkipWithoutQemu();
        await using var vm = await LaunchAsync(Spec(TinyKernel.Halting));
        try
        {
            Assert.Equal([(vm.Handle.Uid, vm.Handle.Process)], _launcher.Discover(_directory.Path));
            Assert.Equal([(vm.Handle.Uid, vm.Handle.Process)], _launcher.Discover(_directory.Path + "/"));
            Assert.Empty(_launcher.Discover(_directory.Path[..^1]));
            Assert.Empty(_launcher.Discover(Path.Combine(_directory.Path, "other")));
        }
        finally
        {
            await vm.KillAsync();
        }

        Assert.Empty(_launcher.Discover(_directory.Path));
    }

    [Fact]
    public async Task PeerCredentials_name_the_process_that_listens()
    {
        var (near, far) = await SocketPair.CreateAsync();
        await using (near)
        await using (far)
        {
            Assert.Equal(Environment.ProcessId, PeerCredentials.Of(near.Socket).Pid);
        }
    }

    private static QemuLauncher NewLauncher() => new(null, TimeProvider.System, NullLogger<QemuLauncher>.Instance);

    private static void SkipWithoutQemu()
    {
        try
        {
            QemuProbe.Probe(null);
        }
        catch (VolantException e)
        {
            Assert.Skip(e.Message);
        }
    }

    private static void SignalFromOutside(ProcessIdentity process, int signal)
    {
        using var descriptor = PidFd.TryOpen(process);
        Assert.True(descriptor!.Signal(signal));
    }

    private static void AssertNothingLeft(VmHandle handle)
    {
        Assert.False(handle.Process.IsAlive());
        Assert.False(Directory.Exists($"/proc/{handle.Process.Pid}") && ProcessIdentity.Find(handle.Process.Pid) is null, "a zombie is left");
        Assert.Empty(Directory.GetFiles(handle.Paths.Directory, "*.sock"));
    }

    private Task<VmProcess> LaunchAsync(LaunchSpec spec) => _launcher.LaunchAsync(spec, _ => Task.CompletedTask, Cancelled);

    private LaunchSpec Spec(byte[] kernel)
    {
        var uid = Guid.NewGuid();
        var paths = new VmPaths(Path.Combine(_directory.Path, uid.ToString("N")[..8]), Path.Combine(_directory.Path, $"{uid}.log"));
        Directory.CreateDirectory(paths.Directory);
        Directory.CreateDirectory(paths.LogDirectory);
        return new LaunchSpec
        {
            Uid = uid,
            CpuCores = 1,
            MemoryMib = 32,
            Kernel = _directory.File($"{uid:N}.kernel", kernel),
            KernelArguments = "quiet",
            Paths = paths,
        };
    }
}
