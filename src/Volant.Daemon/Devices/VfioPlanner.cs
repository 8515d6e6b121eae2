using Volant.Contracts.Api;

namespace Volant.Daemon.Devices;

/// <summary>Examines devices and the groups that they are in, and notes everything that stands against binding them.</summary>
/// <param name="bus">Where they are.</param>
/// <param name="wanted">The devices.</param>
/// <param name="operatorAllows">What the operator allows.</param>
/// <param name="callerAllows">What the caller allows; empty for everything that the operator does.</param>
internal sealed class VfioPlanner(PciBus bus, IReadOnlyList<PciAddress> wanted, IReadOnlyList<string> operatorAllows, IReadOnlyList<string> callerAllows)
{
    private readonly Dictionary<PciAddress, PciDevice> _devices = [];
    private readonly List<DeviceFault> _faults = [];

    /// <summary>The plan, with the devices by address.</summary>
    public VfioPlan Make()
    {
        for (var i = 0; i < wanted.Count; i++)
        {
            if (bus.FindDevice(wanted[i]) is not { } device)
            {
                _faults.Add(new DeviceFault(i, ErrorCodes.DeviceNotFound, "is not there"));
            }
            else if (device.Group is not { } group || bus.FindGroup(group) is not { } found)
            {
                _faults.Add(new DeviceFault(i, ErrorCodes.Unsupported, "is not guarded by an IOMMU"));
            }
            else if (device.IsBridge)
            {
                _faults.Add(new DeviceFault(i, ErrorCodes.Unsupported, "is a bridge, which cannot be passed through"));
            }
            else
            {
                _devices[device.Address] = device;
                Examine(device, "is", i);
                ExamineGroup(found, i);
            }
        }

        return new VfioPlan([.. _devices.Values.OrderBy(device => device.Address.ToString(), StringComparer.Ordinal)], _faults);
    }

    private void ExamineGroup(IommuGroup group, int index)
    {
        foreach (var member in group.Members.Where(member => !wanted.Any(address => address.ToString() == member)))
        {
            var device = PciAddress.TryParse(member, out var address) ? bus.FindDevice(address) : null;
            if (device is null)
            {
                _faults.Add(new DeviceFault(index, ErrorCodes.DeviceNotAllowed, $"shares IOMMU group {group.Id} with {member}, which is no PCI device"));
            }
            else if (!device.IsHarmless && _devices.TryAdd(device.Address, device))
            {
                Examine(device, $"shares IOMMU group {group.Id} with {device}, which is", index);
            }
        }
    }

    private void Examine(PciDevice device, string subject, int index)
    {
        if (!device.IsIn(operatorAllows))
        {
            _faults.Add(new DeviceFault(index, ErrorCodes.DeviceNotAllowed, $"{subject} not allowed by the operator: VOLANT_VFIO_ALLOW names neither {device.Address} nor {device.Id}"));
        }
        else if (callerAllows.Count > 0 && !device.IsIn(callerAllows))
        {
            _faults.Add(new DeviceFault(index, ErrorCodes.DeviceNotAllowed, $"{subject} not in the allowlist of the request: it does not name {device.Id}"));
        }
        else if (device.Driver != VfioBinder.Driver && DeviceUse.Find(bus, device) is { } use)
        {
            _faults.Add(new DeviceFault(index, ErrorCodes.DeviceInUse, subject == "is" ? use : $"{subject} in use: it {use}"));
        }
    }
}
