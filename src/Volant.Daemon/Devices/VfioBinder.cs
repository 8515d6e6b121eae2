using System.Globalization;
using System.Text;
using Volant.Contracts.Api;

namespace Volant.Daemon.Devices;

/// <summary>Gives PCI devices to the driver vfio-pci, and back to the drivers that they had (Linux, Documentation/driver-api/vfio.rst).</summary>
/// <remarks>
/// <c>driver_override</c> names the one device, where <c>new_id</c> would claim every device of its kind. Whether the kernel did what it was
/// told is read back: it accepts requests that come to nothing. Not thread-safe; a release waits until nobody has the device open.
/// </remarks>
internal sealed class VfioBinder(PciBus bus)
{
    /// <summary>The driver.</summary>
    public const string Driver = "vfio-pci";

    /// <summary>For tests: called after each write with the path and the text, in the place of the kernel.</summary>
    internal Action<string, string>? Written { get; init; }

    /// <summary>Looks at devices and their groups; changes nothing.</summary>
    /// <param name="wanted">The devices.</param>
    /// <param name="operatorAllows">What the operator allows; what is in neither list is refused.</param>
    /// <param name="callerAllows">What the caller allows; empty for everything that the operator does.</param>
    /// <exception cref="VolantException"><c>device_unavailable</c>: the kernel's files cannot be read.</exception>
    public VfioPlan Plan(IReadOnlyList<PciAddress> wanted, IReadOnlyList<string> operatorAllows, IReadOnlyList<string> callerAllows)
    {
        if (!bus.HasIommu)
        {
            return new VfioPlan([], [new DeviceFault(null, ErrorCodes.Unsupported, "This host has no IOMMU groups: enable VT-d or AMD-Vi in the firmware and, on Intel, boot with intel_iommu=on")]);
        }

        if (!Directory.Exists(bus.PathOf($"sys/bus/pci/drivers/{Driver}")))
        {
            return new VfioPlan([], [new DeviceFault(null, ErrorCodes.Unsupported, $"The driver {Driver} is not loaded: run 'modprobe {Driver}'")]);
        }

        return new VfioPlanner(bus, wanted, operatorAllows, callerAllows).Make();
    }

    /// <summary>Binds devices to vfio-pci: all of them, or none.</summary>
    /// <param name="devices">The devices as they are now; what they are bound to is restored when one of them fails.</param>
    /// <exception cref="VolantException"><c>device_in_use</c>, or <c>device_unavailable</c>: the kernel did not do it.</exception>
    public void Bind(IReadOnlyList<PciDevice> devices)
    {
        foreach (var device in devices.Where(device => device.Driver != Driver))
        {
            // Looked at again, as late as can be.
            if (DeviceUse.Find(bus, device) is { } use)
            {
                throw new VolantException(ErrorCodes.DeviceInUse, $"PCI device {device} {use}; free it first.");
            }
        }

        var touched = new Stack<PciDevice>();
        try
        {
            foreach (var device in devices.Where(device => device.Driver != Driver))
            {
                touched.Push(device);
                Bind(device);
            }
        }
        catch (VolantException e)
        {
            throw new VolantException(e.Code, e.Message + Undo(touched), e);
        }
    }

    /// <summary>Gives a device back; does nothing when vfio-pci does not have it.</summary>
    /// <param name="address">The device; it may be gone.</param>
    /// <param name="driver">The driver that it had before; null for none.</param>
    /// <param name="driverOverride">The override that it had before.</param>
    /// <returns>Whether the driver has it again, or it had none.</returns>
    /// <exception cref="VolantException"><c>device_in_use</c>: a process has it open; <c>device_unavailable</c>: vfio-pci still has it.</exception>
    public bool Restore(PciAddress address, string? driver, string? driverOverride)
    {
        if (driver == Driver || bus.FindDevice(address) is not { } device)
        {
            return true;
        }

        if (device.Driver == Driver && device.Group is { } group && PciBus.Explain(GroupPath(group), () => Linux.Files.DeviceNode.IsOpen(bus.PathOf(GroupPath(group).TrimStart('/')))))
        {
            throw new VolantException(ErrorCodes.DeviceInUse, $"PCI device {device} cannot be given back while a process has {GroupPath(group)} open; end that process.");
        }

        var path = bus.PathOf(address);
        if (device.DriverOverride == Driver)
        {
            Write($"{path}/driver_override", driverOverride ?? string.Empty);
        }

        if (device.Driver == Driver)
        {
            Unbind(device);
        }

        return driver is null || TakeBack(address, driver);
    }

    /// <summary>The node that a hypervisor opens for a group, <c>/dev/vfio/7</c>.</summary>
    public static string GroupPath(int group) => string.Create(CultureInfo.InvariantCulture, $"/dev/vfio/{group}");

    private void Bind(PciDevice device)
    {
        var path = bus.PathOf(device.Address);
        Write($"{path}/driver_override", Driver);
        if (device.Driver is not null)
        {
            Unbind(device);
        }

        Write(bus.PathOf("sys/bus/pci/drivers_probe"), device.Address.ToString());
        if (CurrentDriver(device.Address) is var current && current != Driver)
        {
            throw new VolantException(ErrorCodes.DeviceUnavailable, $"The kernel did not bind PCI device {device} to {Driver} but left it with {current ?? "no driver"}; its log (dmesg) says why.");
        }
    }

    private void Unbind(PciDevice device)
    {
        Write($"{bus.PathOf(device.Address)}/driver/unbind", device.Address.ToString());
        if (CurrentDriver(device.Address) is { } current)
        {
            throw new VolantException(ErrorCodes.DeviceUnavailable, $"The driver {current} did not let go of PCI device {device}; the kernel's log (dmesg) says why.");
        }
    }

    /// <summary>Lets the kernel choose a driver, as at boot; then asks for the one that was there.</summary>
    private bool TakeBack(PciAddress address, string driver)
    {
        foreach (var file in new[] { "sys/bus/pci/drivers_probe", $"sys/bus/pci/drivers/{driver}/bind" }.Select(bus.PathOf))
        {
            try
            {
                if (CurrentDriver(address) is null && File.Exists(file))
                {
                    Write(file, address.ToString());
                }
            }
            catch (VolantException e) when (e.Code == ErrorCodes.DeviceUnavailable)
            {
                // The driver's own refusal; what counts is who has the device in the end.
            }
        }

        return CurrentDriver(address) == driver;
    }

    private string Undo(Stack<PciDevice> touched)
    {
        var words = new StringBuilder();
        while (touched.TryPop(out var device))
        {
            try
            {
                if (!Restore(device.Address, device.Driver, device.DriverOverride))
                {
                    words.Append(CultureInfo.InvariantCulture, $" {device.Driver} did not take {device.Address} back.");
                }
            }
            catch (VolantException e)
            {
                words.Append(CultureInfo.InvariantCulture, $" {e.Message}");
            }
        }

        return words.ToString();
    }

    private string? CurrentDriver(PciAddress address) => PciBus.LinkedName($"{bus.PathOf(address)}/driver");

    /// <summary>One write, of an attribute that must be there.</summary>
    private void Write(string path, string text) => PciBus.Explain(path, () =>
    {
        using (var file = File.OpenHandle(path, FileMode.Open, FileAccess.Write, FileShare.ReadWrite | FileShare.Delete))
        {
            RandomAccess.Write(file, Encoding.ASCII.GetBytes(text + '\n'), 0);
        }

        Written?.Invoke(path, text);
        return true;
    });
}
