using System.ComponentModel;
using Volant.Contracts.Boot;
using Volant.Linux.Kernel;

namespace Volant.Agent.Boot;

/// <summary>Loads kernel modules from the boot medium, see <see cref="GuestModules"/>. A kernel with everything built in has no such files, and needs none.</summary>
/// <param name="root">Directory with one subdirectory for each kernel release.</param>
/// <param name="load">Loads one module file.</param>
internal sealed class ModuleLoader(string root, Action<string> load)
{
    /// <summary>A loader of this kernel.</summary>
    public static ModuleLoader OfThisKernel { get; } = new("/lib/modules", path => KernelModule.Load(path));

    /// <summary>Loads the drivers of devices that this guest has, one after another: what one brings to light the next may drive.</summary>
    /// <returns>What went wrong, one sentence each.</returns>
    public IReadOnlyList<string> LoadDrivers(string release, IReadOnlyList<GuestDriver> drivers, DeviceAliases devices)
    {
        if (Index(release) is not { } index)
        {
            return [];
        }

        var problems = new List<string>();
        var loaded = new HashSet<string>(StringComparer.Ordinal);
        foreach (var driver in drivers)
        {
            if (driver.Devices is null || devices.Has(driver.Devices))
            {
                Load(release, index.Resolve([driver.Name]).Where(loaded.Add), problems);
            }
        }

        return problems;
    }

    /// <summary>Loads what is there of <paramref name="names"/> and all that it needs; returns what went wrong, one sentence each.</summary>
    public IReadOnlyList<string> Load(string release, IReadOnlyList<string> names)
    {
        var problems = new List<string>();
        if (Index(release) is { } index)
        {
            Load(release, index.Resolve(names), problems);
        }

        return problems;
    }

    private ModuleIndex? Index(string release)
    {
        var dependencies = Path.Combine(root, release, "modules.dep");
        return File.Exists(dependencies) ? ModuleIndex.Parse(File.ReadAllText(dependencies)) : null;
    }

    private void Load(string release, IEnumerable<string> files, List<string> problems)
    {
        var directory = Path.Combine(root, release);
        foreach (var file in files)
        {
            try
            {
                if (file.EndsWith(".ko", StringComparison.Ordinal))
                {
                    load(Path.Combine(directory, file));
                }
                else if (!problems.Contains(CompressedProblem(directory), StringComparer.Ordinal))
                {
                    problems.Add(CompressedProblem(directory));
                }
            }
            catch (Exception e) when (e is Win32Exception or IOException)
            {
                problems.Add($"{e.Message}.");
            }
        }
    }

    private static string CompressedProblem(string directory) => $"The kernel modules in {directory} are compressed and were skipped; pack them as plain .ko files.";
}
