namespace Volant.Daemon.Hypervisors.Qemu;

/// <summary>Recognises QEMU processes of ours.</summary>
internal static class QemuIdentity
{
    private const string ProgramPrefix = "qemu";

    /// <summary>Among the processes of this host.</summary>
    public static HypervisorIdentity Processes { get; } = new(static name => name.StartsWith(ProgramPrefix, StringComparison.Ordinal), Read);

    /// <summary>What <see cref="QemuArguments.Build"/> wrote at the head of a command line; null when it is not one of ours.</summary>
    internal static (Guid Uid, string ControlSocket)? Read(IReadOnlyList<string> arguments) =>
        Guid.TryParse(HypervisorIdentity.After(arguments, "-uuid"), out var uid) &&
        HypervisorIdentity.After(arguments, "-chardev") is { } control && QemuOption.Find(control, "id") == QemuArguments.ControlDevice &&
        QemuOption.Find(control, "path") is { } socket
            ? (uid, socket)
            : null;

    /// <summary>How the agent is reached behind a command line that <see cref="QemuArguments.Build"/> wrote.</summary>
    internal static AgentLink LinkOf(IReadOnlyList<string> arguments) =>
        arguments.Any(argument => argument.StartsWith(QemuArguments.VsockDevice, StringComparison.Ordinal)) ? AgentLink.Vsock : AgentLink.SerialPort;
}
