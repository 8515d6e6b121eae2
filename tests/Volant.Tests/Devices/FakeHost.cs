using System.Globalization;
using Volant.Daemon.Devices;

namespace Volant.Tests.Devices;

/// <summary>A directory shaped like a host's <c>sys</c>, <c>proc</c> and <c>dev</c>, and what a kernel does when its files are written.</summary>
internal sealed class FakeHost
{
    private readonly Dictionary<string, string?> _naturalDrivers = new(StringComparer.Ordinal);

    /// <param name="root">Directory to make.</param>
    /// <param name="vfio">Whether the module vfio-pci is loaded.</param>
    public FakeHost(string root, bool vfio = true)
    {
        Root = root;
        Directory.CreateDirectory(Sys("bus/pci/devices"));
        Directory.CreateDirectory(Sys("bus/pci/drivers"));
        Directory.CreateDirectory(Path.Combine(root, "dev/vfio"));
        File.WriteAllText(Sys("bus/pci/drivers_probe"), string.Empty);
        Write("proc/self/mountinfo", "22 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n");
        Write("proc/swaps", "Filename\tType\tSize\tUsed\tPriority\n");
        if (vfio)
        {
            AddDriver(VfioBinder.Driver);
        }

        Bus = new PciBus(root);
        Binder = new VfioBinder(Bus) { Written = React };
    }

    public string Root { get; }

    public PciBus Bus { get; }

    public VfioBinder Binder { get; }

    /// <summary>Devices that a driver refuses, as driver and address.</summary>
    public HashSet<(string Driver, string Address)> Refusals { get; } = [];

    /// <summary>Every write, as file name and text.</summary>
    public List<string> Writes { get; } = [];

    /// <summary>Told about each write.</summary>
    public Action<string>? Watch { get; set; }

    /// <summary>A spare network interface of its own group, as a rule.</summary>
    public void AddDevice(string address, int? group, string? driver = "e1000e", string id = "8086:10d3", string @class = "0x020000")
    {
        var path = Sys($"devices/pci0000:00/{address}");
        Directory.CreateDirectory(path);
        File.WriteAllText($"{path}/vendor", $"0x{id[..4]}\n");
        File.WriteAllText($"{path}/device", $"0x{id[5..]}\n");
        File.WriteAllText($"{path}/class", @class + "\n");
        File.WriteAllText($"{path}/numa_node", "-1\n");
        File.WriteAllText($"{path}/driver_override", "(null)\n");
        Directory.CreateSymbolicLink(Sys($"bus/pci/devices/{address}"), $"../../../devices/pci0000:00/{address}");
        _naturalDrivers[address] = driver;
        if (driver is not null)
        {
            AddDriver(driver);
            Attach(address, driver);
        }

        if (group is { } number)
        {
            Directory.CreateDirectory(Sys($"kernel/iommu_groups/{number}/devices"));
            Directory.CreateSymbolicLink($"{path}/iommu_group", $"../../../kernel/iommu_groups/{number}");
            Directory.CreateSymbolicLink(Sys($"kernel/iommu_groups/{number}/devices/{address}"), $"../../../../devices/pci0000:00/{address}");
        }
    }

    /// <summary>A directory of a class below a device, such as a network interface or a disk.</summary>
    public string AddChild(string address, string relative, string subsystem)
    {
        var path = Sys($"devices/pci0000:00/{address}/{relative}");
        Directory.CreateDirectory(path);
        Directory.CreateSymbolicLink($"{path}/subsystem", $"/sys/class/{subsystem}");
        return path;
    }

    public void Write(string relative, string text)
    {
        var path = Path.Combine(Root, relative);
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        File.WriteAllText(path, text);
    }

    public void Set(string address, string attribute, string text) => File.WriteAllText(Sys($"devices/pci0000:00/{address}/{attribute}"), text);

    public string? DriverOf(string address) => PciBus.LinkedName(Sys($"bus/pci/devices/{address}/driver"));

    public string? OverrideOf(string address) => Bus.FindDevice(PciAddress.Parse(address))!.DriverOverride;

    /// <summary>As after a restart of the host: every device has the driver that the kernel chooses.</summary>
    public void Reboot()
    {
        foreach (var (address, driver) in _naturalDrivers)
        {
            Detach(address);
            Set(address, "driver_override", "(null)\n");
            if (driver is not null)
            {
                Attach(address, driver);
            }
        }
    }

    private void React(string path, string text)
    {
        Writes.Add($"{Path.GetFileName(path)} {text}");
        Watch?.Invoke(path);
        switch (Path.GetFileName(path))
        {
            case "driver_override":
                File.WriteAllText(path, text.Length == 0 ? "(null)\n" : text + "\n");
                break;
            case "unbind":
                Detach(text);
                break;
            case "drivers_probe" when DriverOf(text) is null:
                var wanted = OverrideOf(text) ?? _naturalDrivers[text];
                if (wanted is not null && !Refusals.Contains((wanted, text)))
                {
                    Attach(text, wanted);
                }

                break;
            case "bind" when !Refusals.Contains((new DirectoryInfo(path).Parent!.Name, text)):
                Attach(text, new DirectoryInfo(path).Parent!.Name);
                break;
        }
    }

    private void AddDriver(string name)
    {
        var path = Sys($"bus/pci/drivers/{name}");
        Directory.CreateDirectory(path);
        File.WriteAllText($"{path}/bind", string.Empty);
        File.WriteAllText($"{path}/unbind", string.Empty);
    }

    private void Attach(string address, string driver)
    {
        Directory.CreateSymbolicLink(Sys($"devices/pci0000:00/{address}/driver"), $"../../../bus/pci/drivers/{driver}");
        if (driver == VfioBinder.Driver && PciBus.LinkedName(Sys($"devices/pci0000:00/{address}/iommu_group")) is { } group)
        {
            Write($"dev/vfio/{group}", string.Empty);
        }
    }

    private void Detach(string address)
    {
        File.Delete(Sys($"devices/pci0000:00/{address}/driver"));
        if (PciBus.LinkedName(Sys($"devices/pci0000:00/{address}/iommu_group")) is { } group &&
            Bus.FindGroup(int.Parse(group, CultureInfo.InvariantCulture))!.Members.All(member => DriverOf(member) != VfioBinder.Driver))
        {
            File.Delete(Path.Combine(Root, "dev/vfio", group));
        }
    }

    private string Sys(string relative) => Path.Combine(Root, "sys", relative);
}
