using System.Diagnostics;
using System.Diagnostics.Metrics;

namespace Volant.Daemon.Telemetry;

/// <summary>Everything that the daemon counts and times. Gauges, which are read when somebody asks, are made where their source is.</summary>
/// <remarks>Names and units follow the OpenTelemetry semantic conventions: seconds, a dot between parts, no unit in the name.</remarks>
internal static class Instruments
{
    /// <summary>Name of the meter and of the source of activities.</summary>
    public const string Name = "Volant";

    private static readonly Meter Meter = new(Name);
    private static readonly InstrumentAdvice<double> Seconds = new() { HistogramBucketBoundaries = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 90] };

    /// <summary>Where traces of operations come from.</summary>
    public static ActivitySource Activities { get; } = new(Name);

    /// <summary>Operations on VMs; <c>operation</c> is create, start, …, and <c>outcome</c> is ok or the code of the error.</summary>
    public static Histogram<double> OperationDuration { get; } = Meter.CreateHistogram("volant.operation.duration", "s", "Time of an operation on a VM, waiting for its turn included.", advice: Seconds);

    /// <summary>Phases of a boot: prepare (media, plan), network (address, tap), disks (overlays, seed), launch (hypervisor), ready (guest; from the launch).</summary>
    public static Histogram<double> BootDuration { get; } = Meter.CreateHistogram("volant.vm.boot.duration", "s", "Time of a phase of a boot.", advice: Seconds);

    /// <summary>Committed events by type.</summary>
    public static Counter<long> Events { get; } = Meter.CreateCounter<long>("volant.events", "{event}", "Events that were committed.");

    /// <summary>Runs that ended; <c>status</c> is stopped or crashed.</summary>
    public static Counter<long> Exits { get; } = Meter.CreateCounter<long>("volant.vm.exits", "{exit}", "Runs of hypervisors that ended.");

    /// <summary>VMs of an earlier daemon; <c>outcome</c> is adopted, settled or failed.</summary>
    public static Counter<long> Recovered { get; } = Meter.CreateCounter<long>("volant.recovery.vms", "{vm}", "VMs of an earlier daemon that were taken over or settled.");

    /// <summary>Time from the start of the daemon until every VM was taken over or settled.</summary>
    public static Histogram<double> RecoveryDuration { get; } = Meter.CreateHistogram("volant.recovery.duration", "s", "Time until every VM of an earlier daemon was taken over or settled.", advice: Seconds);

    /// <summary>Resources without a VM that were removed, by <c>kind</c>.</summary>
    public static Counter<long> Orphans { get; } = Meter.CreateCounter<long>("volant.orphans", "{orphan}", "Processes, taps and directories without a VM that were removed.");

    /// <summary>VMs whose tap or packet filter rules somebody had changed.</summary>
    public static Counter<long> NetworkRepairs { get; } = Meter.CreateCounter<long>("volant.network.repairs", "{vm}", "VMs whose tap or packet filter rules somebody had changed, and that were put right.");

    /// <summary>Group commits of the store.</summary>
    public static Histogram<double> CommitDuration { get; } = Meter.CreateHistogram("volant.store.commit.duration", "s", "Time of one durable commit, which may carry many changes.", advice: Seconds);

    /// <summary>Changes that were made durable; divided by the count of commits it is the size of a group.</summary>
    public static Counter<long> Changes { get; } = Meter.CreateCounter<long>("volant.store.changes", "{change}", "Changes that were made durable.");

    /// <summary>What came to published ports: connections, and flows of datagrams; <c>outcome</c> is ok, no_backend, unreachable or limit.</summary>
    public static Counter<long> Published { get; } = Meter.CreateCounter<long>("volant.published", "{connection}", "Connections and flows of datagrams that came to published ports.");

    /// <summary>Connections through published ports at this moment.</summary>
    public static UpDownCounter<long> PublishedConnections { get; } = Meter.CreateUpDownCounter<long>("volant.published.connections", "{connection}", "Connections through published ports.");

    /// <summary>Flows of datagrams through published ports at this moment.</summary>
    public static UpDownCounter<long> PublishedFlows { get; } = Meter.CreateUpDownCounter<long>("volant.published.flows", "{flow}", "Flows of datagrams through published ports.");

    /// <summary>Bytes through published ports; <c>direction</c> is in (to guests) or out.</summary>
    public static Counter<long> PublishedBytes { get; } = Meter.CreateCounter<long>("volant.published.io", "By", "Bytes through published ports.");

    /// <summary>Requests that were refused, by <c>rule</c>: address, host, origin, key, rate.</summary>
    public static Counter<long> Refusals { get; } = Meter.CreateCounter<long>("volant.api.refusals", "{request}", "Requests that access control refused.");

    /// <summary>Records the time since <paramref name="from"/> as a phase of a boot.</summary>
    public static void RecordBoot(TimeProvider clock, long from, string phase) =>
        BootDuration.Record(clock.GetElapsedTime(from).TotalSeconds, new KeyValuePair<string, object?>("phase", phase));
}
