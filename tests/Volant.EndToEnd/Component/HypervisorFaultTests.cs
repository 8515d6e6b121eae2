using System.Net.Sockets;
using Volant.Contracts;
using Volant.Contracts.Api;
using Volant.Linux.Kernel;

namespace Volant.EndToEnd.Component;

/// <summary>Hypervisors that do not start, do not listen, do not end, or end by themselves (C03, C06).</summary>
public sealed class HypervisorFaultTests : IAsyncLifetime
{
    private const int SegmentationFault = 11;
    private const int Stop = 19;

    private TestDaemon _daemon = null!;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync() => _daemon = await StandIn.StartAsync();

    public ValueTask DisposeAsync() => _daemon.DisposeAsync();

    [Fact]
    public async Task A_launch_that_fails_says_why_within_its_deadline_and_leaves_nothing()
    {
        var slow = StandIn.Extent(2000, 8000);
        (string Fault, int Status, string[] Words)[] cases =
        [
            ("exec-fail:3", 503, ["exited with code 3", "It said: qemu-stand-in: told to fail"]),
            ("exec-fail:0", 503, ["exited with code 0", "It said: qemu-stand-in: told to fail"]),
            ("no-socket", 503, ["did not answer on its control socket within 30 s"]),
            ("hang-api", 503, ["did not answer on its control socket within 30 s"]),
            ($"slow-socket:{slow}", 201, []),
        ];
        var creating = cases.Select((each, i) => _daemon.CreateAsync($"vm-{i}", each.Fault)).ToArray();

        // A hypervisor that hangs keeps nobody else waiting.
        var other = (await _daemon.CreateAsync("other")).Expect(201);
        Assert.True(other.Took < TimeSpan.FromSeconds(10), $"{other.Took}");
        var answers = await Task.WhenAll(creating);
        foreach (var (answer, (fault, status, words)) in answers.Zip(cases))
        {
            StandIn.Report($"{fault}: {answer.Status} after {answer.Took.TotalSeconds:0.0} s");
            Assert.True(answer.Status == status && answer.Took < TimeSpan.FromSeconds(45), $"{fault}: {answer}");
            if (status == 503)
            {
                var problem = answer.As(503, ContractsJson.Default.Problem);
                Assert.Equal(ErrorCodes.HypervisorUnavailable, problem.Code);
                Assert.True(words.All(word => problem.Detail!.Contains(word, StringComparison.Ordinal)), $"{fault}: {problem.Detail}");
            }
        }

        Assert.Equal(["other", "vm-4"], (await _daemon.VmsAsync()).Select(vm => vm.Name));
        Assert.Equal(2, _daemon.Hypervisors().Count);
        Assert.Equal(2, Directory.GetDirectories(_daemon.RuntimeDirectory).Length);
        Assert.Equal(2, Directory.GetDirectories(_daemon.LogDirectory).Length);
    }

    [Fact]
    public async Task A_stop_is_over_within_its_grace_and_two_seconds_whatever_the_hypervisor_does()
    {
        const int Grace = 3;
        foreach (var (name, fault) in new[] { ("plain", ""), ("deaf", "deaf"), ("stubborn", "deaf+ignore-term"), ("mute", "mute-agent"), ("frozen", ""), ("dying", "") })
        {
            (await _daemon.CreateAsync(name, fault)).Expect(201);
        }

        foreach (var name in new[] { "frozen", "dying" })
        {
            StandIn.Signal((await _daemon.FindAsync(name))!.Pid!.Value, Stop);
        }

        // A delete waits for no guest.
        var deleting = _daemon.CallAsync(HttpMethod.Delete, "/api/v1/vms/dying");
        var stops = await Task.WhenAll(new[] { "plain", "deaf", "stubborn", "mute", "frozen" }.Select(async name => (Name: name, Answer: await _daemon.CallAsync(HttpMethod.Post, $"/api/v1/vms/{name}/stop?grace_seconds={Grace}"))));
        foreach (var (name, answer) in stops)
        {
            var vm = answer.As(200, ContractsJson.Default.Vm);
            StandIn.Report($"{name}: {answer.Took.TotalSeconds:0.00} s, {vm.Exit!.Reason}");
            Assert.Equal(VmStatus.Stopped, vm.Status);
            Assert.Contains(name is "plain" or "mute" ? "the guest powered off" : "the hypervisor was ended", vm.Exit.Reason, StringComparison.Ordinal);

            // Two seconds are promised; the rest is for a machine with other things to do.
            Assert.True(answer.Took < TimeSpan.FromSeconds(Grace + 2 + 1), $"{name}: {answer.Took}");
        }

        var deleted = (await deleting).Expect(204);
        Assert.True(deleted.Took < TimeSpan.FromSeconds(3), $"{deleted.Took}");
        Assert.Empty(_daemon.Hypervisors());
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task An_end_that_nobody_asked_for_is_an_event_and_a_status_at_once_with_its_reason(bool adopted)
    {
        (string Name, Func<Vm, Task> End, string Reason, int? Code, int? Signal)[] cases =
        [
            ("killed", vm => SignalAsync(vm, Signals.Kill), "the hypervisor was killed by signal 9", null, Signals.Kill),
            ("faulty", vm => SignalAsync(vm, SegmentationFault), "the hypervisor was killed by signal 11", null, SegmentationFault),
            ("gone", vm => ExitAsync(vm, 0), "the hypervisor exited with code 0", 0, null),
            ("failed", vm => ExitAsync(vm, 1), "the hypervisor exited with code 1", 1, null),
        ];
        foreach (var (name, _, _, _, _) in cases)
        {
            (await _daemon.CreateAsync(name, query: "?wait=ready")).Expect(201);
        }

        if (adopted)
        {
            await _daemon.EndAsync(Signals.Kill);
            await _daemon.StartAsync();
        }

        await using var feed = await EventFeed.OpenAsync(_daemon);
        foreach (var (name, end, reason, code, signal) in cases)
        {
            var vm = (await _daemon.FindAsync(name))!;
            var began = TimeProvider.System.GetTimestamp();
            await end(vm);
            var crashed = await feed.FirstAsync(arrival => arrival.Type == VmEventTypes.Crashed && arrival.Event!.Name == name);
            var now = (await _daemon.FindAsync(name))!;
            StandIn.Report($"{name}: event after {TimeProvider.System.GetElapsedTime(began, crashed.At).TotalMilliseconds:0} ms: {crashed.Event!.Message}");
            Assert.True(TimeProvider.System.GetElapsedTime(began, crashed.At) < TimeSpan.FromSeconds(5));
            Assert.Equal(VmStatus.Crashed, now.Status);
            Assert.Equal(DesiredState.Running, now.Desired);
            Assert.Null(now.Pid);

            // How another process's child ended, only its parent learns.
            Assert.Equal(adopted ? "the hypervisor is gone" : reason, now.Exit!.Reason);
            Assert.Equal(adopted ? (null, null) : (code, signal), (now.Exit.Code, now.Exit.Signal));
            Assert.StartsWith(now.Exit.Reason, crashed.Event.Message, StringComparison.Ordinal);
        }

        Assert.Empty(_daemon.Hypervisors());
        Assert.Empty(Directory.GetDirectories(_daemon.RuntimeDirectory));
    }

    [Fact]
    public async Task A_crash_loop_is_launched_ever_more_seldom_and_ends_when_the_attempts_are_used_up()
    {
        (await _daemon.CreateAsync("loop", "crash-after:500", """{"restart": {"policy": "on-failure", "max_attempts": 4, "backoff_ms": 200}}""")).Expect(201);
        await using var feed = await EventFeed.OpenAsync(_daemon, after: 0);
        var given = await _daemon.UntilAsync("loop", vm => vm.Status == VmStatus.Crashed && vm.RestartAt is null);

        Assert.Equal(4, given.Restarts);
        Assert.Contains("not started again after 4 attempts", given.LastError, StringComparison.Ordinal);
        Assert.Equal("the hypervisor exited with code 9", given.Exit!.Reason);
        await feed.FirstAsync(_ => feed.Arrived.Count(arrival => arrival.Type == VmEventTypes.Crashed) == 5);
        var times = feed.Arrived.Where(arrival => arrival.Type is VmEventTypes.Crashed or VmEventTypes.Starting).Select(arrival => arrival.Event!).ToList();
        var pauses = times.Zip(times.Skip(1)).Where(pair => pair.First.Type == VmEventTypes.Crashed).Select(pair => (pair.Second.Timestamp - pair.First.Timestamp).TotalMilliseconds).ToList();
        StandIn.Report($"pauses of {string.Join(", ", pauses.Select(pause => $"{pause:0}"))} ms");
        Assert.Equal(4, pauses.Count);

        // 200, 400, 800, 1600 ms, each with a fifth of jitter: never early.
        Assert.All(pauses.Select((pause, i) => (pause, i)), each => Assert.True(each.pause >= 200 * (1 << each.i) * 0.79, $"{each}"));
    }

    [Fact]
    public async Task A_panic_in_the_guest_is_told_apart_from_the_death_of_its_hypervisor()
    {
        (await _daemon.CreateAsync("panic", "panic-after:500")).Expect(201);
        var vm = await _daemon.UntilAsync("panic", vm => vm.Status == VmStatus.Crashed);

        Assert.Equal("the guest's kernel panicked", vm.Exit!.Reason);
    }

    private static Task SignalAsync(Vm vm, int signal)
    {
        StandIn.Signal(vm.Pid!.Value, signal);
        return Task.CompletedTask;
    }

    /// <summary>The stand-in does as it is told on its serial console.</summary>
    private static async Task ExitAsync(Vm vm, int code)
    {
        using var serial = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        await serial.ConnectAsync(new UnixDomainSocketEndPoint(vm.SerialSocket), Cancel);
        await serial.SendAsync(System.Text.Encoding.ASCII.GetBytes($"exit {code}\n"), Cancel);
    }
}
