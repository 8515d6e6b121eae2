using System.Text.Json.Serialization;

namespace Volant.Contracts.Api;

/// <summary>Observed lifecycle status of a VM.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<VmStatus>))]
public enum VmStatus
{
    /// <summary>Recorded; nothing was launched yet.</summary>
    [JsonStringEnumMemberName("pending")]
    Pending,

    /// <summary>Host resources are being acquired and the hypervisor is being launched.</summary>
    [JsonStringEnumMemberName("starting")]
    Starting,

    /// <summary>The hypervisor process is alive.</summary>
    [JsonStringEnumMemberName("running")]
    Running,

    /// <summary>A stop was asked for and is under way.</summary>
    [JsonStringEnumMemberName("stopping")]
    Stopping,

    /// <summary>Stopped on request; may be started again.</summary>
    [JsonStringEnumMemberName("stopped")]
    Stopped,

    /// <summary>The hypervisor ended, or could not be launched, without a stop being asked for.</summary>
    [JsonStringEnumMemberName("crashed")]
    Crashed,
}

/// <summary>What the user wants of a VM.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<DesiredState>))]
public enum DesiredState
{
    /// <summary>It should run.</summary>
    [JsonStringEnumMemberName("running")]
    Running,

    /// <summary>It should not run.</summary>
    [JsonStringEnumMemberName("stopped")]
    Stopped,
}

/// <summary>The one place that says which status changes are legal, and how a status is spelt.</summary>
public static class VmStatusRules
{
    /// <summary>Whether a VM in status <paramref name="from"/> may become <paramref name="to"/>.</summary>
    public static bool CanBecome(this VmStatus from, VmStatus to) => (from, to) switch
    {
        (VmStatus.Pending, VmStatus.Starting or VmStatus.Stopped or VmStatus.Crashed) => true,
        (VmStatus.Starting, VmStatus.Running or VmStatus.Stopping or VmStatus.Crashed) => true,
        (VmStatus.Running, VmStatus.Stopping or VmStatus.Crashed or VmStatus.Stopped) => true,
        (VmStatus.Stopping, VmStatus.Stopped or VmStatus.Crashed) => true,
        (VmStatus.Stopped or VmStatus.Crashed, VmStatus.Starting) => true,
        (VmStatus.Crashed, VmStatus.Stopped) => true,
        _ => false,
    };

    /// <summary>The same text that JSON uses.</summary>
    public static string ToText(this VmStatus status) => status switch
    {
        VmStatus.Pending => "pending",
        VmStatus.Starting => "starting",
        VmStatus.Running => "running",
        VmStatus.Stopping => "stopping",
        VmStatus.Stopped => "stopped",
        VmStatus.Crashed => "crashed",
        _ => throw new ArgumentOutOfRangeException(nameof(status), status, message: null),
    };

    /// <summary>Reads what <see cref="ToText"/> wrote; null when it is no status.</summary>
    public static VmStatus? FindStatus(string text) => Enum.GetValues<VmStatus>().Cast<VmStatus?>().FirstOrDefault(status => status!.Value.ToText() == text);
}
