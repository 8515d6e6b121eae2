namespace Volant.Agent.Boot;

/// <summary>What devices the guest has, as the kernel names them for those who choose drivers: the <c>modalias</c> of each.</summary>
/// <param name="system">Mount point of sysfs.</param>
internal sealed class DeviceAliases(string system = "/sys")
{
    private readonly Dictionary<string, List<string>> _known = new(StringComparer.Ordinal);

    /// <summary>Whether there is a device whose alias begins so. A bus is read when it is first asked for, which must be after its own driver was loaded.</summary>
    /// <param name="prefix">Begins with the name of a bus and a colon.</param>
    public bool Has(string prefix)
    {
        var bus = prefix[..prefix.IndexOf(':')];
        if (!_known.TryGetValue(bus, out var aliases))
        {
            _known[bus] = aliases = Read(Path.Combine(system, "bus", bus, "devices"));
        }

        return aliases.Exists(alias => alias.StartsWith(prefix, StringComparison.Ordinal));
    }

    private static List<string> Read(string devices)
    {
        List<string> aliases = [];
        foreach (var device in Directory.Exists(devices) ? Directory.GetFileSystemEntries(devices) : [])
        {
            var file = Path.Combine(device, "modalias");
            if (File.Exists(file))
            {
                aliases.Add(File.ReadAllText(file));
            }
        }

        return aliases;
    }
}
