using Volant.Contracts.Manifests;

namespace Volant.Daemon.Devices;

/// <summary>Address of a PCI function: domain, bus, device and function, <c>0000:01:00.0</c>. Checked, so that it can name a file.</summary>
internal readonly record struct PciAddress
{
    private readonly string? _text;

    private PciAddress(string text) => _text = text;

    /// <summary>Reads an address, by <see cref="DeviceRules.AddressPattern"/>.</summary>
    public static bool TryParse(string? text, out PciAddress address)
    {
        address = DeviceRules.IsAddress(text) ? new PciAddress(text!) : default;
        return address != default;
    }

    /// <summary>Reads an address that was checked before.</summary>
    /// <exception cref="FormatException">It is none.</exception>
    public static PciAddress Parse(string text) => TryParse(text, out var address) ? address : throw new FormatException($"'{text}' is not a PCI address.");

    /// <summary>As sysfs writes it.</summary>
    public override string ToString() => _text ?? string.Empty;
}
