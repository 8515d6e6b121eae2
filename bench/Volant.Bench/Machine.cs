using System.Globalization;
using Volant.Daemon.Hypervisors.Qemu;

namespace Volant.Bench;

/// <summary>Facts about the machine and the run that the figures belong to.</summary>
internal static class Machine
{
    /// <summary>Average number of runnable processes over the last minute.</summary>
    public static double Load => double.Parse(LoadText.Split(' ')[0], CultureInfo.InvariantCulture);

    /// <summary>The averages over one, five and fifteen minutes.</summary>
    public static string LoadText => string.Join(' ', File.ReadAllText("/proc/loadavg").Split(' ').Take(3));

    /// <summary>Reads them; the load is that of this moment.</summary>
    /// <param name="context">The run.</param>
    /// <param name="arguments">What the run was asked to do.</param>
    /// <param name="cancellationToken">Gives up.</param>
    public static async Task<List<(string Name, string Value)>> DescribeAsync(BenchContext context, IReadOnlyList<string> arguments, CancellationToken cancellationToken)
    {
        var qemu = QemuProbe.Probe(null);
        var memory = long.Parse(Field("/proc/meminfo", "MemTotal", ':').Split(' ')[0], CultureInfo.InvariantCulture);
        return
        [
            ("processor", Field("/proc/cpuinfo", "model name", ':')),
            ("cores", Environment.ProcessorCount.ToString(CultureInfo.InvariantCulture)),
            ("memory", string.Create(CultureInfo.InvariantCulture, $"{memory / 1024:#,##0} MiB")),
            ("kernel", (await File.ReadAllTextAsync("/proc/sys/kernel/osrelease", cancellationToken)).Trim()),
            ("distribution", Field("/etc/os-release", "PRETTY_NAME", '=').Trim('"')),
            ("hypervisor", $"QEMU {qemu.Version}, {(qemu.Kvm ? "KVM" : "TCG (software emulation)")}"),
            ("load average at start", LoadText),
            ("date", context.Clock.GetUtcNow().ToString("yyyy-MM-dd HH:mm 'UTC'", CultureInfo.InvariantCulture)),
            ("revision", await RevisionAsync(context, cancellationToken)),
            ("command", $"`{string.Join(' ', [.. Variable(BenchOptions.KernelVariable), "scripts/bench.sh", .. arguments])}`"),
        ];
    }

    private static string[] Variable(string name) => Environment.GetEnvironmentVariable(name) is { Length: > 0 } value ? [$"{name}={value}"] : [];

    private static async Task<string> RevisionAsync(BenchContext context, CancellationToken cancellationToken)
    {
        try
        {
            return (await Child.RunAsync(["git", "-C", context.Root, "describe", "--always", "--dirty"], context.NewDirectory("git"), cancellationToken)).Trim();
        }
        catch (IOException)
        {
            return "unknown: no git checkout";
        }
    }

    private static string Field(string file, string name, char separator) =>
        File.ReadLines(file).FirstOrDefault(line => line.StartsWith(name, StringComparison.Ordinal)) is { } line
            ? line[(line.IndexOf(separator, StringComparison.Ordinal) + 1)..].Trim()
            : "unknown";
}
