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

    /// <summary>Loads what is there of <paramref name="names"/> and all that it needs; returns what went wrong, one sentence each.</summary>
    public IReadOnlyList<string> Load(string release, IReadOnlyList<string> names)
    {
        var directory = Path.Combine(root, release);
        var dependencies = Path.Combine(directory, "modules.dep");
        if (!File.Exists(dependencies))
        {
            return [];
        }

        var problems = new List<string>();
        var isCompressed = false;
        foreach (var file in ModuleIndex.Parse(File.ReadAllText(dependencies)).Resolve(names))
        {
            if (!file.EndsWith(".ko", StringComparison.Ordinal))
            {
                isCompressed = true;
                continue;
            }

            try
            {
                load(Path.Combine(directory, file));
            }
            catch (Exception e) when (e is Win32Exception or IOException)
            {
                problems.Add($"{e.Message}.");
            }
        }

        if (isCompressed)
        {
            problems.Add($"The kernel modules in {directory} are compressed and were skipped; pack them as plain .ko files.");
        }

        return problems;
    }
}
