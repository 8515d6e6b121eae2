using Volant.Agent.Boot;
using Volant.Agent.Dhcp;
using Volant.Agent.Transport;
using Volant.Agent.Http;
using Volant.Agent.Power;
using Volant.Agent.Workloads;
using Volant.Contracts.Api;

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
        foreach (var problem in (string[])[.. problems, .. _groups?.SetUp() ?? []])
        {
            console.Say(problem);
            _status.Note(problem);
        }

        // Orphans are collected whether there is a workload or not.
        var (supervisor, passThrough) = Prepare(new ChildReaper(isInit, _groups is null ? null : _groups.Place));
        using var ownSupervisor = supervisor;
        using var signals = new SignalRoutes(ShutDown, signal => supervisor?.Signal(signal));

        // The workload first: it needs longer than the server.
        var dhcp = _dhcp?.RunAsync(_status.Refresh, _stopping.Token) ?? Task.CompletedTask;
        var workload = supervisor is null ? Task.CompletedTask : RunWorkloadAsync(supervisor);
        using var server = new AgentServer(console);
        await server.StartAsync(new AgentApplication(_status, new LogRoutes(_log, clock), new ClockRoute(told => GuestClock.Apply(told, clock), console), passThrough, ShutDown), CancellationToken.None);
        var listening = ListenAsync(new Listeners(server.Http2, server.Http1, console, clock));
        console.Say($"agent {GuestFacts.AgentVersion} up after {GuestFacts.UptimeMs} ms");

        await Task.WhenAny(Task.Delay(Timeout.InfiniteTimeSpan, clock, _stopping.Token), listening);
        await workload;
        await dhcp;

        // Whoever follows the log gets the rest of it, and the end.
        _log.Complete();
        using var drain = new CancellationTokenSource(DrainTime, clock);
        await server.StopAsync(drain.Token);
        return (PowerAction)_action;
    }

    /// <inheritdoc/>
    public void Dispose() => _stopping.Dispose();

    private async Task RunWorkloadAsync(WorkloadSupervisor supervisor)
    {
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

    private (WorkloadSupervisor? Supervisor, PassThrough? PassThrough) Prepare(ChildReaper reaper)
    {
        try
        {
            var manifest = ManifestSource.Read(plan.Manifest, plan.ManifestFile);
            var target = WorkloadTarget.Parse(manifest.Workload?.BaseUrl ?? string.Empty);
            var supervisor = new WorkloadSupervisor(
                WorkloadCommand.From(manifest), new HealthProbe(target, manifest.HealthCheck, clock), reaper, _status, console, _log, clock);
            return (supervisor, new PassThrough(target, _status, clock));
        }
        catch (FormatException e)
        {
            console.Say($"There is no workload: {e.Message}");
            _status.SetWorkload(new WorkloadState { Status = WorkloadStatus.Failed, Message = e.Message });
            return (null, null);
        }
    }

    /// <summary>Listens wherever this guest can be reached; ends only with an exception or with the agent.</summary>
    private async Task ListenAsync(Listeners listeners)
    {
        var stopping = _stopping.Token;
        var all = new List<Task>();
        if (isInit)
        {
            all.Add(listeners.ServeSerialAsync(stopping));
            all.Add(listeners.ServeVsockAsync(stopping));
            all.Add(new PowerButton(clock).WatchAsync(() => ShutDown(PowerAction.Off, "the power button was pressed"), stopping));
        }

        if (plan.Api is { } api)
        {
            all.Add(listeners.ServeTcpAsync(api, stopping));
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
