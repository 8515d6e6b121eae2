using Volant.Contracts.Boot;

namespace Volant.Agent.Boot;

/// <summary>The root disk that the boot asks for, unchecked.</summary>
/// <param name="Device">Device, such as <c>vda</c> or <c>/dev/vda1</c>.</param>
/// <param name="FileSystem">Its file system; null for the one that is found on it.</param>
internal sealed record RootPlan(string Device, string? FileSystem)
{
    private const string DefaultDevice = "vda";

    /// <summary>Reads the boot keys; null when the guest stays in its initramfs.</summary>
    /// <remarks>
    /// <c>auto</c> needs a word about a root disk on the line. That a disk is there is no such word: the first data disk of a guest that
    /// runs from its initramfs has the same name.
    /// </remarks>
    public static RootPlan? Read(IReadOnlyDictionary<string, string> values, List<string> problems)
    {
        var device = NonEmpty(BootKeys.RootfsDevice);
        var isNamed = device is not null || NonEmpty(BootKeys.Rootfs) is not null;
        var isWanted = NonEmpty(BootKeys.Boot) switch
        {
            "rootfs" => true,
            "initramfs" => false,
            "auto" or null => isNamed,
            var other => Guess(other),
        };
        return isWanted ? new RootPlan(device ?? DefaultDevice, NonEmpty(BootKeys.RootfsFstype)) : null;

        string? NonEmpty(string key) => values.GetValueOrDefault(key) is { Length: > 0 } value ? value : null;

        bool Guess(string other)
        {
            problems.Add($"The boot argument {BootKeys.Boot}={other} is none of auto, initramfs and rootfs; it is read as auto.");
            return isNamed;
        }
    }
}
