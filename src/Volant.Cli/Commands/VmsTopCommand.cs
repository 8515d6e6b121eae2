using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using Volant.Cli.Api;
using Volant.Cli.Output;
using Volant.Contracts.Api;
using Volant.Linux.Processes;

namespace Volant.Cli.Commands;

/// <summary><c>volar vms top</c>: what guests use by their own account, and what their hypervisors use on the host.</summary>
internal static class VmsTopCommand
{
    private static readonly TimeSpan Pause = TimeSpan.FromSeconds(1);

    /// <summary>Makes the command.</summary>
    public static Command Create(CommandScope scope)
    {
        var names = Symbols.VmNames();
        names.Arity = ArgumentArity.ZeroOrMore;
        var once = new Option<bool>("--once") { Description = "Print one sample and end, as where standard output is no terminal" };
        return scope.Define(
            "top",
            "Show what running VMs use: processor and memory of the guest, disk and network, and the hypervisor on the host.",
            [names, once],
            ["volar vms top", "volar vms top web --once --output json"],
            async (parsed, run, cancellationToken) =>
            {
                var wanted = parsed.GetValue(names) ?? [];
                var repeats = !parsed.GetValue(once) && run.Host.OutputIsTerminal && !run.IsStructured;
                var last = await SampleAsync(run, wanted, cancellationToken);
                var drawn = 0;
                do
                {
                    // A rate needs two samples.
                    await Task.Delay(Pause, run.Host.Clock, cancellationToken);
                    var next = await SampleAsync(run, wanted, cancellationToken);
                    drawn = Print(run, last, next, repeats, drawn);
                    last = next;
                }
                while (repeats);
                return ExitCodes.Ok;
            });
    }

    private static async Task<IReadOnlyList<Usage>> SampleAsync(CommandRun run, string[] names, CancellationToken cancellationToken)
    {
        var vms = names.Length == 0
            ? await run.Client.ListVmsAsync(new VmFilter(["running"], Plugin: null), cancellationToken)
            : await Task.WhenAll(names.Select(name => run.Client.GetVmAsync(name, cancellationToken)));
        return await Task.WhenAll(vms.Select(vm => AskAsync(run, vm.Value, cancellationToken)));
    }

    private static async Task<Usage> AskAsync(CommandRun run, Vm vm, CancellationToken cancellationToken)
    {
        var host = run.Client.IsLocal && vm.Pid is { } pid && IsOf(pid, vm.Uid) ? ProcessUsage.Find(pid) : null;
        var at = run.Host.Clock.GetTimestamp();
        try
        {
            var metrics = await run.Client.GetMetricsAsync(vm.Name, cancellationToken);
            return new Usage(vm, metrics.Value, metrics.Json, host, at, Fault: null);
        }
        catch (CliException e) when (e.ExitCode != ExitCodes.Unreachable && !e.IsDenied)
        {
            return new Usage(vm, Guest: null, Json: null, host, at, e.Message);
        }
    }

    /// <summary>Whether a process of this host is the hypervisor of a VM: an address on loopback may lead to another host.</summary>
    private static bool IsOf(int pid, Guid uid) => ProcessIdentity.CommandLine(pid).Any(word => word.Contains(uid.ToString(), StringComparison.Ordinal));

    private static int Print(CommandRun run, IReadOnlyList<Usage> last, IReadOnlyList<Usage> next, bool repeats, int drawn)
    {
        var rows = next.Select(usage => (Usage: usage, Before: last.FirstOrDefault(old => old.Vm.Uid == usage.Vm.Uid))).ToArray();
        if (run.IsStructured)
        {
            run.Print(JsonPrinter.Make(json => Write(json, rows, run.Host.Clock)));
            return 0;
        }

        var table = new TextTable("NAME", "CPU", "MEMORY", "OF", "DISK R", "DISK W", "NET IN", "NET OUT", "HOST CPU", "HOST MEM");
        foreach (var (usage, before) in rows)
        {
            var guest = usage.Guest;
            table.Add(
                usage.Vm.Name,
                usage.Fault is null ? Percent(GuestCpu(before, usage)) : new Cell("no answer", Paint.Yellow),
                Bytes(guest?.Memory.TotalBytes - guest?.Memory.AvailableBytes),
                Bytes(guest?.Memory.TotalBytes),
                Bytes(guest?.Disks.Sum(disk => disk.ReadBytes)),
                Bytes(guest?.Disks.Sum(disk => disk.WrittenBytes)),
                Bytes(guest?.Network.Sum(network => network.ReceivedBytes)),
                Bytes(guest?.Network.Sum(network => network.SentBytes)),
                Percent(HostCpu(before, usage, run.Host.Clock)),
                Bytes(usage.Host?.ResidentBytes));
        }

        if (repeats)
        {
            return run.Redraw(table, drawn);
        }

        run.Print(table);
        return 0;
    }

    private static double? GuestCpu(Usage? before, Usage now)
    {
        if (before?.Guest is not { } old || now.Guest is not { } guest || guest.Uptime <= old.Uptime)
        {
            return null;
        }

        var busy = guest.Cpu.UserSeconds + guest.Cpu.SystemSeconds - old.Cpu.UserSeconds - old.Cpu.SystemSeconds;
        return Math.Max(0, busy / (guest.Uptime - old.Uptime) * 100);
    }

    private static double? HostCpu(Usage? before, Usage now, TimeProvider clock) =>
        before?.Host is { } old && now.Host is { } host && clock.GetElapsedTime(before.At, now.At) is { Ticks: > 0 } passed
            ? Math.Max(0, (host.CpuTime - old.CpuTime) / passed * 100)
            : null;

    private static string Percent(double? share) => share is { } known ? string.Create(CultureInfo.InvariantCulture, $"{known:F0}%") : string.Empty;

    private static string Bytes(long? bytes) => bytes is { } known ? Amounts.Bytes(known).Replace(" ", string.Empty, StringComparison.Ordinal) : string.Empty;

    private static void Write(Utf8JsonWriter json, (Usage Usage, Usage? Before)[] rows, TimeProvider clock)
    {
        json.WriteStartArray();
        foreach (var (usage, before) in rows)
        {
            json.WriteStartObject();
            json.WriteString("name", usage.Vm.Name);
            if (GuestCpu(before, usage) is { } guest)
            {
                json.WriteNumber("cpu_percent", Math.Round(guest, 1));
            }

            if (HostCpu(before, usage, clock) is { } host)
            {
                json.WriteNumber("host_cpu_percent", Math.Round(host, 1));
            }

            if (usage.Host is { } process)
            {
                json.WriteNumber("host_memory_bytes", process.ResidentBytes);
            }

            if (usage.Json is { } metrics)
            {
                json.WritePropertyName("guest");
                metrics.WriteTo(json);
            }
            else
            {
                json.WriteString("error", usage.Fault);
            }

            json.WriteEndObject();
        }

        json.WriteEndArray();
    }

    private sealed record Usage(Vm Vm, GuestMetrics? Guest, JsonElement? Json, ProcessUsage? Host, long At, string? Fault);
}
