namespace Volant.Daemon.Devices;

/// <summary>Devices that the IOMMU cannot tell apart: all of them are given to one VM, or none.</summary>
/// <param name="Id">Number of the group.</param>
/// <param name="Members">Names of its devices, sorted; PCI addresses as a rule.</param>
internal sealed record IommuGroup(int Id, IReadOnlyList<string> Members);
