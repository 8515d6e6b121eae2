using System.Globalization;
using Volant.Contracts.Api;

namespace Volant.Contracts.Manifests;

/// <summary>The grammar of PCI addresses and of allow-lists (contract §2, VFIO). Pure; reports every fault at once.</summary>
public static class DeviceRules
{
    /// <summary>Most devices of a VM, or of a request.</summary>
    public const int MaxDevices = 16;

    /// <summary>Most entries of an allow-list.</summary>
    public const int MaxPatterns = 64;

    /// <summary>A PCI address as a regular expression.</summary>
    public const string AddressPattern = "^[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\\.[0-7]$";

    /// <summary>An entry of an allow-list as a regular expression.</summary>
    public const string IdPattern = "^[0-9a-f]{4}:([0-9a-f]{4}|\\*)$";

    private const string AddressForm = "must be a PCI address such as '0000:01:00.0', in lower case and with its domain";
    private const string IdForm = "must be 'vendor:device' or 'vendor:*' in lower-case hex digits, such as '10de:*'";

    /// <summary>Whether <paramref name="text"/> is domain, bus, device and function as sysfs writes them: <see cref="AddressPattern"/>.</summary>
    public static bool IsAddress(string? text) =>
        text is { Length: 12 } && IsHex(text[..4]) && text[4] == ':' && IsHex(text[5..7]) && text[7] == ':' && IsHex(text[8..10]) && text[10] == '.' && text[11] is >= '0' and <= '7';

    /// <summary>Whether <paramref name="text"/> is <c>vendor:device</c> or <c>vendor:*</c>: <see cref="IdPattern"/>.</summary>
    public static bool IsId(string? text) =>
        text is { Length: >= 6 } && IsHex(text[..4]) && text[4] == ':' && (text[5..] == "*" || (text.Length == 9 && IsHex(text[5..])));

    /// <summary>Trims the entries.</summary>
    public static DeviceConfig? Normalise(DeviceConfig? devices) => devices is null ? null : devices with
    {
        PciPassthrough = devices.PciPassthrough?.Select(text => text?.Trim()!).ToArray(),
        Allowlist = devices.Allowlist?.Select(text => text?.Trim()!).ToArray(),
    };

    /// <summary>Faults of a request for one device.</summary>
    public static IReadOnlyList<FieldError> Validate(VfioDeviceRequest request)
    {
        ArgumentNullException.ThrowIfNull(request);
        var faults = new FaultList();
        faults.Require(IsAddress(request.PciAddress), "pci_address", AddressForm);
        return faults.All;
    }

    /// <summary>Faults of a request for several devices.</summary>
    /// <param name="request">The request.</param>
    /// <param name="required">Whether it must name at least one.</param>
    public static IReadOnlyList<FieldError> Validate(VfioDevicesRequest request, bool required = true)
    {
        ArgumentNullException.ThrowIfNull(request);
        var faults = new FaultList();
        faults.Require(!required || request.PciAddresses is { Count: > 0 }, "pci_addresses", "must name at least one device");
        ValidateAddresses(faults, "pci_addresses", request.PciAddresses ?? []);
        ValidateAllowlist(faults, "allowlist", request.Allowlist ?? []);
        return faults.All;
    }

    /// <summary>Checks the section <c>devices</c> of a manifest or a configuration.</summary>
    internal static void Validate(FaultList faults, string path, DeviceConfig? devices)
    {
        ValidateAddresses(faults, $"{path}.pci_passthrough", devices?.PciPassthrough ?? []);
        ValidateAllowlist(faults, $"{path}.allowlist", devices?.Allowlist ?? []);
    }

    private static void ValidateAddresses(FaultList faults, string path, IReadOnlyList<string> addresses)
    {
        faults.Require(addresses.Count <= MaxDevices, path, string.Create(CultureInfo.InvariantCulture, $"must be at most {MaxDevices}"));
        var seen = new HashSet<string>(StringComparer.Ordinal);
        for (var i = 0; i < Math.Min(addresses.Count, MaxDevices); i++)
        {
            var at = string.Create(CultureInfo.InvariantCulture, $"{path}[{i}]");
            faults.Require(IsAddress(addresses[i]), at, AddressForm);
            faults.Require(addresses[i] is null || seen.Add(addresses[i]), at, "is named twice");
        }
    }

    private static void ValidateAllowlist(FaultList faults, string path, IReadOnlyList<string> patterns)
    {
        faults.Require(patterns.Count <= MaxPatterns, path, string.Create(CultureInfo.InvariantCulture, $"must be at most {MaxPatterns}"));
        for (var i = 0; i < Math.Min(patterns.Count, MaxPatterns); i++)
        {
            faults.Require(IsId(patterns[i]), string.Create(CultureInfo.InvariantCulture, $"{path}[{i}]"), IdForm);
        }
    }

    private static bool IsHex(string text) => text.All(char.IsAsciiHexDigitLower);
}
