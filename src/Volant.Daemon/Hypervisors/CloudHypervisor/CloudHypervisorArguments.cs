namespace Volant.Daemon.Hypervisors.CloudHypervisor;

/// <summary>The command line of an empty monitor, which is told over its socket what to run; pure.</summary>
/// <remarks>Source: Cloud Hypervisor, <c>cloud-hypervisor --help</c> and docs/api.md.</remarks>
internal static class CloudHypervisorArguments
{
    private const string ApiSocket = "--api-socket";

    /// <summary>The whole command line, the program first. The directory of the socket is named after the VM's identity.</summary>
    /// <exception cref="VolantException"><c>unsupported</c>: a path that cannot be told.</exception>
    public static IReadOnlyList<string> Build(VmPaths paths, CloudHypervisorHost host) =>
    [
        host.Program,
        ApiSocket, VmmOption.OfPath(paths.ControlSocket),
        "--event-monitor", VmmOption.OfPath(paths.EventLog),
        "--seccomp", "true",
    ];

    /// <summary>Recognises processes of ours.</summary>
    /// <param name="program">The program that is configured; one of the usual name is recognised, too.</param>
    public static HypervisorIdentity Processes(string? program)
    {
        var configured = program is null ? CloudHypervisorProbe.DefaultProgram : Path.GetFileName(program);
        return new HypervisorIdentity(name => name == configured || name == CloudHypervisorProbe.DefaultProgram, Read);
    }

    /// <summary>What <see cref="Build"/> wrote; null when it is something else.</summary>
    internal static (Guid Uid, string ControlSocket)? Read(IReadOnlyList<string> arguments) =>
        VmmOption.PathOf(HypervisorIdentity.After(arguments, ApiSocket)) is { } socket && Guid.TryParseExact(Path.GetFileName(Path.GetDirectoryName(socket)), "D", out var uid)
            ? (uid, socket)
            : null;
}
