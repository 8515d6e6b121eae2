using Volant.Agent.Boot;
using Volant.Agent.Commands;
using Volant.Agent.Dhcp;
using Volant.Agent.Transport;
using Volant.Agent.Http;
using Volant.Agent.Identity;
using Volant.Agent.Power;
using Volant.Agent.Workloads;
using Volant.Contracts.Api;
using Volant.Contracts.Manifests;
using Volant.Contracts;

namespace Volant.Agent;

/// <summary>The running agent: workload, HTTP server and what ends them.</summary>
/// <param name="plan">What the boot asks for.</param>
/// <param name="isInit">Whether this process is PID 1 of the guest.</param>
/// <param name="console">The console.</param>
/// <param name="clock">The clock.</param>
internal sealed class GuestAgent(BootPlan plan, bool isInit, ConsoleLog console, TimeProvider clock) : IDisposable
{
    /// <summary>How long the workload waits for the guest's first address; it starts without one then, and the address comes when it comes.</summary>
    private static readonly TimeSpan AddressWait = TimeSpan.FromSeconds(5);

    private static readonly TimeSpan DrainTime = TimeSpan.FromMilliseconds(500);

    private readonly CancellationTokenSource _stopping = new();
    private readonly GuestDhcp? _dhcp = isInit && plan.Network is { Dhcp: true } network ? new GuestDhcp(network, plan.Hostname, console, clock) : null;
    private readonly ControlGroups? _groups = isInit ? new ControlGroups() : null;
    private readonly AgentStatus _status = new(clock);
    private readonly OutputLog _log = new(clock);
    private int _action = -1;

    /// <summary>Runs until a signal, the power button or the host asks for the end, then stops the workload and the server.</summary>
    /// <param name="problems">What went wrong in the boot so far, one sentence each.</param>
    /// <returns>What was asked for.</returns>
    public async Task<PowerAction> RunAsync(IReadOnlyList<string> problems)
    {
        // The server first: the host sees that the guest lives, and what asks for more waits a moment.
        var gate = new Gate(plan.IsGated, _status.SetGated);
        var surface = new AgentSurface
        {
            Status = _status,
            Log = _log,
            Gate = gate,
            HostClock = new ClockRoute(told => GuestClock.Apply(told, clock), console),
            Identify = (request, cancellationToken) => GuestIdentity.ApplyAsync(request, clock, cancellationToken),
            ShutDown = ShutDown,
            Clock = clock,
        };
        var application = surface.Begin();
        using var server = new AgentServer(console);
        await server.StartAsync(application, CancellationToken.None);
        using var channels = new CancellationTokenSource();
        var listening = ListenAsync(new Listeners(server.Http2, server.Http1, console, clock), channels.Token);
        console.Say($"agent {ProductVersion.Text} up after {GuestFacts.UptimeMs} ms");

        foreach (var problem in (string[])[.. problems, .. _groups?.SetUp() ?? []])
        {
            console.Say(problem);
            _status.Note(problem);
        }

        // Orphans are collected whether there is a workload or not.
        var reaper = new ChildReaper(isInit, _groups is null ? null : _groups.Place);
        var users = new UserDatabase();
        var (manifest, command, target) = ReadManifest(users);
        var supervisor = command is null ? null : Prepare(manifest!, command, target, reaper);
        using var ownSupervisor = supervisor;
        using var signals = new SignalRoutes(ShutDown, signal => supervisor?.Signal(signal));
        using var network = new CancellationTokenSource();
        var dhcp = _dhcp?.RunAsync(_status.Refresh, () => _action == (int)PowerAction.Off, network.Token) ?? Task.CompletedTask;
        var workload = supervisor is null ? Task.CompletedTask : RunWorkloadAsync(supervisor, gate);
        surface.Complete(application, new CommandRunner(reaper, users, command, clock), manifest, target);

        await Task.WhenAny(Task.Delay(Timeout.InfiniteTimeSpan, clock, _stopping.Token), listening);
        await workload;
        await network.CancelAsync();
        await dhcp;

        // Whoever follows the log gets the rest of it, and the end.
        _log.Complete();
        using var drain = new CancellationTokenSource(DrainTime, clock);
        await server.StopAsync(drain.Token);
        await channels.CancelAsync();
        return (PowerAction)_action;
    }

    /// <inheritdoc/>
    public void Dispose() => _stopping.Dispose();

    private async Task RunWorkloadAsync(WorkloadSupervisor supervisor, Gate gate)
    {
        try
        {
            // What starts before the identity is there would share it with every copy: keys, addresses, random numbers.
            await gate.WaitAsync(_stopping.Token);
        }
        catch (OperationCanceledException)
        {
            // The guest ends without ever having been somebody; the supervisor says so.
        }

        if (_dhcp is not null)
        {
            using var limit = CancellationTokenSource.CreateLinkedTokenSource(_stopping.Token);
            await Task.WhenAny(_dhcp.First, Task.Delay(AddressWait, clock, limit.Token));
            await limit.CancelAsync();
        }

        await supervisor.RunAsync(_stopping.Token);
    }

    private void ShutDown(PowerAction action, string why)
    {
        // The first one decides.
        if (Interlocked.CompareExchange(ref _action, (int)action, -1) == -1)
        {
            console.Say($"shutting down: {why}");

            // Not on the caller's thread: it may be a request or a signal handler, and the workload is stopped by what follows.
            ThreadPool.UnsafeQueueUserWorkItem(static stopping => stopping.Cancel(), _stopping, preferLocal: false);
        }
    }

    private (PluginManifest? Manifest, WorkloadCommand? Command, WorkloadTarget? Target) ReadManifest(UserDatabase users)
    {
        try
        {
            var manifest = ManifestSource.Read(plan.Manifest, plan.ManifestFile);
            return (manifest, WorkloadCommand.From(manifest, users), manifest.Workload?.BaseUrl is { } url ? WorkloadTarget.Parse(url) : null);
        }
        catch (FormatException e)
        {
            console.Say($"There is no workload: {e.Message}");
            _status.SetWorkload(new WorkloadState { Status = WorkloadStatus.Failed, Message = e.Message });
            return (null, null, null);
        }
    }

    private WorkloadSupervisor Prepare(PluginManifest manifest, WorkloadCommand command, WorkloadTarget? target, ChildReaper reaper)
    {
        var probe = new HealthProbe(target, manifest.HealthCheck, (arguments, cancellationToken) => command.CheckAsync(arguments, reaper, cancellationToken), clock);
        var measurements = new Measurements();
        return new WorkloadSupervisor(command, probe, reaper, _status, console, _log, clock, () => measurements.OutOfMemoryKills);
    }

    /// <summary>Listens wherever this guest can be reached; ends only with an exception or with the agent.</summary>
    /// <param name="listeners">How.</param>
    /// <param name="end">Ends it once the server has ended: until then the channel carries the answer to whoever asked for the shutdown, and the end of the log.</param>
    private async Task ListenAsync(Listeners listeners, CancellationToken end)
    {
        var stopping = _stopping.Token;
        var all = new List<Task>();
        if (isInit)
        {
            all.Add(listeners.ServeSerialAsync(end));
            all.Add(listeners.ServeVsockAsync(end));
            all.Add(new PowerButton(clock).WatchAsync(() => ShutDown(PowerAction.Off, "the power button was pressed"), stopping));
        }

        if (plan.Api is { } api)
        {
            all.Add(listeners.ServeTcpAsync(api, end));
        }

        await foreach (var ended in Task.WhenEach(all).WithCancellation(CancellationToken.None))
        {
            if (ended.Exception is { } fault)
            {
                console.Say($"A listener failed: {fault.InnerException?.Message}");
            }
        }

        await Task.Delay(Timeout.InfiniteTimeSpan, clock, stopping);
    }
}
