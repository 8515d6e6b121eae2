using CsCheck;
using Volant.Contracts.Api;
using Volant.Daemon;
using Volant.Linux.Processes;

namespace Volant.Tests.Orchestration;

/// <summary>Random sequences of operations, ends of hypervisors, and daemons that are killed between any two writes (T04).</summary>
public sealed class LifecycleModelTests
{
    private static readonly string[] Names = ["a", "b"];

    private enum Step
    {
        Create,
        Start,
        Stop,
        Restart,
        Delete,
        Several,
        Kill,
        KillDaemon,
        KillDaemonAndVm,
        KillDaemonInside,
        Wait,
    }

    private static readonly Gen<(Step Step, int Number)[]> Steps = Gen.Select(Gen.Enum<Step>(), Gen.Int[0, 1_000_000]).Array[1, 25];

    [Fact]
    public async Task Every_change_is_legal_and_every_VM_comes_to_rest() => await Steps.SampleAsync(
        async steps =>
        {
            await using var world = new World();
            await world.BeginAsync();
            foreach (var (step, number) in steps)
            {
                await world.TakeAsync(step, number);
                await world.SettleAsync();
            }

            await world.EndAsync();
        },
        iter: Soak.Times(8, 4_000),
        threads: 1);

    private sealed class World : IAsyncDisposable
    {
        private readonly OrchestratorFixture _host = new(Soak.CreateDirectory("volant-life-"));

        public async Task BeginAsync()
        {
            await _host.RestartAsync();
            await _host.InstallAsync();
        }

        public async Task TakeAsync(Step step, int number)
        {
            var name = Names[number % Names.Length];
            switch (step)
            {
                case Step.Several:
                    await Task.WhenAll(Enumerable.Range(0, 2 + (number % 6)).Select(i => TryAsync((Step)((number + (i * 7)) % 5), name)));
                    break;
                case Step.Kill when _host.Launcher.Alive is { Count: > 0 } alive:
                    Kill(alive[number % alive.Count]);
                    break;
                case Step.KillDaemon:
                    await _host.RestartAsync();
                    break;
                case Step.KillDaemonAndVm:
                    // The old daemon must not see the death: its store is closed first.
                    await _host.Database.DisposeAsync();
                    foreach (var process in _host.Launcher.Alive.Take(1 + (number % 2)))
                    {
                        Kill(process);
                        await UntilAsync(() => !process.IsAlive());
                    }

                    await _host.RestartAsync();
                    break;
                case Step.KillDaemonInside:
                    // As good as killed: from one write on nothing is written any more.
                    _host.Database.FailAt(1 + (number % 9));
                    await TryAsync((Step)(number / 10 % 5), name);
                    await _host.RestartAsync();
                    break;
                case Step.Wait:
                    _host.Clock.Advance(TimeSpan.FromSeconds(number % 40));
                    break;
                case Step.Create or Step.Start or Step.Stop or Step.Restart or Step.Delete:
                    await CheckAnswerAsync(step, name);
                    break;
            }
        }

        /// <summary>Waits until nothing is under way, and compares what is recorded with what there is.</summary>
        public async Task SettleAsync()
        {
            await UntilAsync(() =>
            {
                // Adopted in the middle of a stop: the grace is the clock's.
                _host.Clock.Advance(TimeSpan.FromMilliseconds(250));
                return _host.Store.AllVms().All(vm => !vm.Deleting && vm.Vm.Status is VmStatus.Running or VmStatus.Stopped or VmStatus.Crashed) && Agrees();
            });
            var alive = _host.Launcher.Alive;
            Assert.Equal(alive.Count, alive.DistinctBy(process => process.Pid).Count());
        }

        public async Task EndAsync()
        {
            AssertLegal();
            foreach (var vm in _host.Store.AllVms())
            {
                await _host.Orchestrator.DeleteAsync(vm.Name, CancellationToken.None);
            }

            _host.AssertNothingIsHeld();
            AssertLegal();
        }

        public ValueTask DisposeAsync() => _host.DisposeAsync();

        /// <summary>One hypervisor, one tap and one directory for each VM that runs, and none besides.</summary>
        private bool Agrees()
        {
            var running = _host.Store.AllVms().Where(vm => vm.Vm.Status == VmStatus.Running).ToList();
            return running.Select(vm => vm.Vm.Pid ?? 0).Order().SequenceEqual(_host.Launcher.Alive.Select(process => process.Pid).Order())
                && running.Count == _host.Network.Taps.Count
                && running.Count == (Directory.Exists(_host.Options.RuntimeDirectory) ? Directory.GetDirectories(_host.Options.RuntimeDirectory).Length : 0);
        }

        /// <summary>An operation that alone was asked for says what then is true.</summary>
        private async Task CheckAnswerAsync(Step step, string name)
        {
            var before = _host.Store.FindVm(name);
            var failure = await TryAsync(step, name);
            var after = _host.Store.FindVm(name)?.Vm;
            if (failure is not null)
            {
                Assert.Equal(step == Step.Create ? ErrorCodes.VmExists : ErrorCodes.VmNotFound, failure.Code);
                Assert.Equal(step == Step.Create, before is not null);
            }
            else
            {
                Assert.Equal(step switch { Step.Stop => VmStatus.Stopped, Step.Delete => null, _ => VmStatus.Running }, after?.Status);
                Assert.Equal(step == Step.Create || before is null ? after?.Uid : before.Vm.Uid, after?.Uid ?? before?.Vm.Uid);
            }
        }

        private async Task<VolantException?> TryAsync(Step step, string name)
        {
            try
            {
                await (step switch
                {
                    Step.Create => _host.Orchestrator.CreateAsync(new CreateVmRequest { Name = name, Plugin = "hello" }, CancellationToken.None),
                    Step.Start => _host.Orchestrator.StartAsync(name, CancellationToken.None),
                    Step.Stop => _host.Orchestrator.StopAsync(name, TimeSpan.Zero, CancellationToken.None),
                    Step.Restart => _host.Orchestrator.RestartAsync(name, TimeSpan.Zero, CancellationToken.None),
                    _ => _host.Orchestrator.DeleteAsync(name, CancellationToken.None),
                });
                return null;
            }
            catch (VolantException e)
            {
                return e;
            }
        }

        /// <summary>What the events tell, from the first to the last, are the transitions of the table.</summary>
        private void AssertLegal()
        {
            var statuses = new Dictionary<string, VmStatus>(StringComparer.Ordinal);
            foreach (var next in _host.Store.ListEvents(0, long.MaxValue, int.MaxValue)!)
            {
                var (name, status) = (next.Event.Name, next.Event.Status);
                switch (next.Event.Type)
                {
                    case VmEventTypes.Created:
                        Assert.True(statuses.TryAdd(name, status), $"{name} was created twice");
                        Assert.Equal(VmStatus.Pending, status);
                        break;
                    case VmEventTypes.Deleted:
                        Assert.True(statuses.Remove(name), $"{name} was deleted and did not exist");
                        break;
                    case VmEventTypes.Ready or VmEventTypes.NotReady:
                        Assert.Equal(VmStatus.Running, status);
                        break;
                    default:
                        Assert.True(statuses[name].CanBecome(status), $"{name} became {status} and was {statuses[name]}");
                        statuses[name] = status;
                        break;
                }
            }
        }

        private static void Kill(ProcessIdentity identity)
        {
            using var process = PidFd.TryOpen(identity);
            process?.Signal(9);
        }

        private static async Task UntilAsync(Func<bool> condition)
        {
            var started = TimeProvider.System.GetTimestamp();
            while (!condition())
            {
                Assert.True(TimeProvider.System.GetElapsedTime(started).TotalSeconds < 30, "it did not come to rest");
                await Task.Delay(TimeSpan.FromMilliseconds(2), TimeProvider.System);
            }
        }
    }
}
