using System.Globalization;

namespace Volant.Bench;

/// <summary>The command line is wrong; the message is the line to print.</summary>
internal sealed class UsageException(string message) : Exception(message);

/// <summary>What to measure, how often, and where the built programs are.</summary>
internal sealed record BenchOptions
{
    /// <summary>What <c>--help</c> prints.</summary>
    public const string Help = """
        Usage: scripts/bench.sh [OPTION...]
          --only LIST         comma list of: control, boot, disks, guest, cli, daemon, proxy, ports, scale, import (default: all)
          --launches N        VMs of the figures 'control' and 'disks' (default 30)
          --boots N           pairs of boots of figure 'boot', per kernel, and boots of 'guest' (default 10)
          --idle-windows N    windows of 10 s of figure 'guest' (default 3)
          --spawns N          runs of 'volar version' (default 100)
          --starts N          starts of volantd of figure 'daemon' (default 20)
          --requests N        sequential requests of figure 'proxy', connections of 'ports' (default 500)
          --load-seconds N    seconds of concurrent requests of figure 'proxy' (default 5)
          --downloads N       downloads of 64 MiB of figure 'proxy' (default 3)
          --imports N         pairs of imports of figure 'import' (default 5)
          --limit-seconds N   end of the whole run; what is not measured by then is said (default 600)
          --output FILE       write the report to a file as well
          --kernel DIR        bzImage of the guests (default .cache/kernel)
          --vmlinux FILE      another guest kernel, for a second round of 'boot' (default $VOLANT_KERNEL_VMLINUX)
          --programs DIR      the built programs (default dist/bin)
          --workload FILE     the published tests/Volant.TestWorkload
          --stand-in FILE     the published tests/Volant.StandIn

        """;

    /// <summary>Environment variable for <see cref="VmLinux"/>.</summary>
    public const string KernelVariable = "VOLANT_KERNEL_VMLINUX";

    private const int MaxRounds = 100_000;

    /// <summary>Names of the figures to measure, in the order of the report.</summary>
    public required IReadOnlyList<string> Only { get; init; }

    /// <summary>VMs that are created and deleted to measure the control plane.</summary>
    public int Launches { get; init; } = 30;

    /// <summary>Pairs of boots, through the daemon and by hand.</summary>
    public int Boots { get; init; } = 10;

    /// <summary>Windows in which the idle guest is observed.</summary>
    public int IdleWindows { get; init; } = 3;

    /// <summary>Runs of the command line.</summary>
    public int Spawns { get; init; } = 100;

    /// <summary>Starts of the daemon.</summary>
    public int Starts { get; init; } = 20;

    /// <summary>Requests one after another through the proxy.</summary>
    public int Requests { get; init; } = 500;

    /// <summary>Duration of the concurrent requests in seconds.</summary>
    public int LoadSeconds { get; init; } = 5;

    /// <summary>Large downloads through the proxy.</summary>
    public int Downloads { get; init; } = 3;

    /// <summary>Imports of an image, by fledge and by hand.</summary>
    public int Imports { get; init; } = 5;

    /// <summary>End of the whole run in seconds.</summary>
    public int LimitSeconds { get; init; } = 600;

    /// <summary>File for the report; null for standard output alone.</summary>
    public string? Output { get; init; }

    /// <summary>Directory of the guest kernel.</summary>
    public required string Kernel { get; init; }

    /// <summary>A second guest kernel.</summary>
    public string? VmLinux { get; init; }

    /// <summary>Directory of the built programs.</summary>
    public required string Programs { get; init; }

    /// <summary>The program that runs in the guest of figure 'proxy'.</summary>
    public required string Workload { get; init; }

    /// <summary>The program that takes the hypervisor's place in figure 'scale'.</summary>
    public required string StandIn { get; init; }

    /// <summary>Reads the command line.</summary>
    /// <param name="arguments">Options, each with its value as the next argument.</param>
    /// <param name="root">Root of the checkout, for the defaults.</param>
    /// <param name="figures">Known figures.</param>
    /// <param name="environment">Looks up an environment variable.</param>
    /// <exception cref="UsageException">An option is unknown, or its value is missing or bad.</exception>
    public static BenchOptions Parse(IReadOnlyList<string> arguments, string root, IReadOnlyList<string> figures, Func<string, string?> environment)
    {
        var options = new BenchOptions
        {
            Only = figures,
            Kernel = Path.Combine(root, ".cache", "kernel"),
            Programs = Path.Combine(root, "dist", "bin"),
            Workload = Path.Combine(root, "artifacts", "publish", "Volant.TestWorkload", "release_linux-x64", "test-workload"),
            StandIn = Path.Combine(root, "artifacts", "publish", "Volant.StandIn", "release_linux-x64", "qemu-stand-in"),
            VmLinux = environment(KernelVariable) is { Length: > 0 } set ? Path.GetFullPath(set) : null,
        };
        for (var i = 0; i < arguments.Count; i += 2)
        {
            var name = arguments[i];
            var value = i + 1 < arguments.Count ? arguments[i + 1] : throw new UsageException($"'{name}' needs a value; see --help.");
            options = name switch
            {
                "--only" => options with { Only = Chosen(value, figures) },
                "--launches" => options with { Launches = Number(name, value) },
                "--boots" => options with { Boots = Number(name, value) },
                "--idle-windows" => options with { IdleWindows = Number(name, value) },
                "--spawns" => options with { Spawns = Number(name, value) },
                "--starts" => options with { Starts = Number(name, value) },
                "--requests" => options with { Requests = Number(name, value) },
                "--load-seconds" => options with { LoadSeconds = Number(name, value) },
                "--downloads" => options with { Downloads = Number(name, value) },
                "--imports" => options with { Imports = Number(name, value) },
                "--limit-seconds" => options with { LimitSeconds = Number(name, value) },
                "--output" => options with { Output = Path.GetFullPath(value) },
                "--kernel" => options with { Kernel = Path.GetFullPath(value) },
                "--vmlinux" => options with { VmLinux = Path.GetFullPath(value) },
                "--programs" => options with { Programs = Path.GetFullPath(value) },
                "--stand-in" => options with { StandIn = Path.GetFullPath(value) },
                "--workload" => options with { Workload = Path.GetFullPath(value) },
                _ => throw new UsageException($"There is no option '{name}'; see --help."),
            };
        }

        return options;
    }

    private static int Number(string name, string value) =>
        int.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out var number) && number is >= 1 and <= MaxRounds
            ? number
            : throw new UsageException($"{name} must be a whole number from 1 to {MaxRounds}, not '{value}'.");

    private static string[] Chosen(string value, IReadOnlyList<string> figures)
    {
        var names = value.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
        return names.FirstOrDefault(name => !figures.Contains(name, StringComparer.Ordinal)) is { } unknown
            ? throw new UsageException($"There is no figure '{unknown}'; there are {string.Join(", ", figures)}.")
            : [.. figures.Where(figure => names.Contains(figure, StringComparer.Ordinal))];
    }
}
