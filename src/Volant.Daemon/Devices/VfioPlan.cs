namespace Volant.Daemon.Devices;

/// <summary>What binding some devices means: the devices of all their groups, and what stands against it.</summary>
/// <param name="Devices">Every device that must be bound, bridges excluded; only whole when there is no fault.</param>
/// <param name="Faults">Why it cannot be done now; empty when it can.</param>
internal sealed record VfioPlan(IReadOnlyList<PciDevice> Devices, IReadOnlyList<DeviceFault> Faults);

/// <summary>One thing that stands against binding.</summary>
/// <param name="Index">Place of the device in the request; null for the host as a whole.</param>
/// <param name="Code">One of <see cref="Contracts.Api.ErrorCodes"/>.</param>
/// <param name="Message">The end of a sentence that began with the device, or a sentence about the host.</param>
internal sealed record DeviceFault(int? Index, string Code, string Message);
