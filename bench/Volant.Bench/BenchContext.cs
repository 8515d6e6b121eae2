namespace Volant.Bench;

/// <summary>A guest kernel that a daemon is told to use.</summary>
/// <param name="Name">What it is called in the report.</param>
/// <param name="BzImage">Value of <c>VOLANT_KERNEL_BZIMAGE</c>.</param>
/// <param name="VmLinux">Value of <c>VOLANT_KERNEL_VMLINUX</c>, which is preferred when the file exists.</param>
internal sealed record GuestKernel(string Name, string BzImage, string VmLinux);

/// <summary>What all figures share.</summary>
/// <param name="options">What was asked for.</param>
/// <param name="root">Root of the checkout.</param>
/// <param name="directory">Existing directory for everything that the run makes; its owner deletes it.</param>
internal sealed class BenchContext(BenchOptions options, string root, string directory)
{
    private static readonly string[] Programs = ["volantd", "volar", "kestrel", "fledge"];

    private int _directories;

    /// <summary>What was asked for.</summary>
    public BenchOptions Options => options;

    /// <summary>Root of the checkout.</summary>
    public string Root => root;

    /// <summary>Measures everything.</summary>
    public TimeProvider Clock { get; } = TimeProvider.System;

    /// <summary>The kernel of all guests but those of a second round of figure 'boot'.</summary>
    public GuestKernel Kernel { get; } = new("distribution", Path.Combine(options.Kernel, "bzImage"), Path.Combine(options.Kernel, "none"));

    /// <summary>Full path of one of our programs.</summary>
    public string Program(string name) => Path.Combine(options.Programs, name);

    /// <summary>Size of one of our programs in bytes.</summary>
    public long SizeOf(string name)
    {
        // Opened, because the size of a link is that of its text.
        using var file = File.OpenHandle(Program(name));
        return RandomAccess.GetLength(file);
    }

    /// <summary>A new empty directory; short, because sockets in it have at most 107 bytes.</summary>
    public string NewDirectory(string name) => Directory.CreateDirectory(Path.Combine(directory, $"{name}{_directories++}")).FullName;

    /// <summary>Milliseconds since a timestamp of <see cref="Clock"/>.</summary>
    public double MillisecondsSince(long timestamp) => Clock.GetElapsedTime(timestamp).TotalMilliseconds;

    /// <summary>Tells the user what happens now.</summary>
    public static void Progress(string text) => Console.Error.WriteLine($"bench: {text}");

    /// <summary>Says which file is missing, and what makes it.</summary>
    /// <exception cref="IOException">One is missing.</exception>
    public void CheckFiles()
    {
        (string Path, string Remedy)[] needed =
        [
            .. Programs.Select(name => (Program(name), "run scripts/build.sh, or set --programs")),
            (Kernel.BzImage, $"run scripts/kernel.sh {options.Kernel}, or set --kernel"),
            .. options.Only.Contains("proxy", StringComparer.Ordinal) ? new[] { (options.Workload, "run dotnet publish tests/Volant.TestWorkload -c Release -r linux-x64, or set --workload") } : [],
            .. options.Only.Contains("scale", StringComparer.Ordinal) ? new[] { (options.StandIn, "run dotnet publish tests/Volant.StandIn -c Release -r linux-x64, or set --stand-in") } : [],
            .. options.VmLinux is { } kernel ? new[] { (kernel, "correct --vmlinux or VOLANT_KERNEL_VMLINUX") } : [],
        ];
        foreach (var (path, remedy) in needed)
        {
            if (!File.Exists(path))
            {
                throw new IOException($"'{path}' does not exist: {remedy}.");
            }
        }
    }
}
