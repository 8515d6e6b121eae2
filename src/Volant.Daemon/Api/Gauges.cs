using System.Diagnostics.Metrics;
using Volant.Daemon.Events;
using Volant.Daemon.Orchestration;
using Volant.Daemon.Plugins;
using Volant.Daemon.Store;
using Volant.Daemon.Telemetry;
using Volant.Linux.Processes;

namespace Volant.Daemon.Api;

/// <summary>What is measured only when somebody asks: VMs by state, queues, and what every hypervisor uses.</summary>
internal sealed class Gauges : IHostedService, IDisposable
{
    private readonly Meter _meter;

    /// <summary>Makes the gauges; their callbacks live as long as this.</summary>
    public Gauges(IMeterFactory meters, VolantStore store, EventBus events, PluginRegistry plugins, Recovery recovery)
    {
        _meter = meters.Create(new MeterOptions(Instruments.Name));
        _meter.CreateObservableGauge("volant.vms", () => store.CountVms().ByStatus.Select(count => new Measurement<long>(count.Value, Tag("status", count.Key))), "{vm}", "VMs by status.");
        _meter.CreateObservableGauge("volant.vms.ready", () => store.CountReady(), "{vm}", "VMs whose workload is ready.");
        _meter.CreateObservableGauge("volant.plugins", () => plugins.All.Count, "{plugin}", "Installed plugins.");
        _meter.CreateObservableGauge("volant.recovery.complete", () => recovery.IsComplete ? 1 : 0, null, "1 when every VM of an earlier daemon is taken over or settled.");
        _meter.CreateObservableGauge("volant.events.subscribers", () => events.SubscriberCount, "{subscriber}", "Clients that follow the events.");
        _meter.CreateObservableGauge("volant.store.queue", () => store.QueueDepth, "{change}", "Changes that wait to be written.");
        _meter.CreateObservableCounter("volant.vm.cpu.time", () => OfEach(store, usage => usage.CpuTime.TotalSeconds), "s", "Processor time of a hypervisor, its guest included.");
        _meter.CreateObservableGauge("volant.vm.memory.usage", () => OfEach(store, usage => usage.ResidentBytes), "By", "Memory of a hypervisor that is in RAM.");
        _meter.CreateObservableGauge("volant.vm.threads", () => OfEach(store, usage => usage.Threads), "{thread}", "Threads of a hypervisor.");
        _meter.CreateObservableCounter("process.cpu.time", () => Environment.CpuUsage.TotalTime.TotalSeconds, "s", "Processor time of the daemon.");
        _meter.CreateObservableGauge("process.memory.usage", () => Environment.WorkingSet, "By", "Memory of the daemon that is in RAM.");
    }

    /// <inheritdoc/>
    public Task StartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    /// <inheritdoc/>
    public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    /// <inheritdoc/>
    public void Dispose() => _meter.Dispose();

    private static IEnumerable<Measurement<T>> OfEach<T>(VolantStore store, Func<ProcessUsage, T> value)
        where T : struct =>
        from vm in store.ListProcesses()
        let usage = ProcessUsage.Find(vm.Pid)
        where usage is not null
        select new Measurement<T>(value(usage), Tag("vm", vm.Name));

    private static KeyValuePair<string, object?> Tag(string name, string value) => new(name, value);
}
