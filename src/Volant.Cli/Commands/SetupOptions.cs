using System.CommandLine;
using Volant.Cli.Setup;

namespace Volant.Cli.Commands;

/// <summary>The options of <c>volar setup</c>.</summary>
internal sealed class SetupOptions
{
    private readonly Option<string?> _bridge = Symbols.Text("--bridge", "NAME", "Bridge of bridged VMs [default: vbr0]");
    private readonly Option<string?> _subnet = Symbols.Text("--subnet", "NETWORK", "Their IPv4 subnet [default: 192.168.127.0/24]");
    private readonly Option<string?> _hostIp = Symbols.Text("--host-ip", "ADDRESS", "Address of this host in it [default: the first one]");
    private readonly Option<string?> _runtime = Symbols.Text("--runtime-dir", "DIR", $"Sockets of running VMs [default: {SetupSettings.DefaultRuntimeDirectory}]");
    private readonly Option<string?> _log = Symbols.Text("--log-dir", "DIR", $"Logs of VMs [default: {SetupSettings.DefaultLogDirectory}]");
    private readonly Option<string?> _work = Symbols.Text("--work-dir", "DIR", $"Database, disks and images [default: {SetupSettings.DefaultStateDirectory}]");
    private readonly Option<string?> _service = Symbols.Text("--service-file", "FILE", $"The systemd unit [default: {SetupSettings.DefaultServiceFile}]");
    private readonly Option<string?> _bzImage = Symbols.Text("--bzimage", "FILE", $"Guest kernel [default: {SetupSettings.DefaultStateDirectory}/kernel/bzImage]");
    private readonly Option<string?> _vmlinux = Symbols.Text("--vmlinux", "FILE", $"Guest kernel as ELF, preferred where it exists [default: {SetupSettings.DefaultStateDirectory}/kernel/vmlinux]");

    // For who makes packages.
    private readonly Option<string?> _daemon = new("--volantd") { Description = "The daemon [default: the one beside volar]", HelpName = "FILE", Hidden = true };

    /// <summary><c>--dry-run</c>.</summary>
    public Option<bool> DryRun { get; } = new("--dry-run") { Description = "Only say what would be done" };

    /// <summary><c>--undo</c>.</summary>
    public Option<bool> Undo { get; } = new("--undo") { Description = "Take back what setup did; what was changed since, and data, stays and is named" };

    /// <summary><c>--print</c>.</summary>
    public Option<string?> Print { get; } = Symbols.Text("--print", "unit|environment|sysctl", "Print a file as setup would write it to an empty host, and do nothing").AcceptOnlyFromAmong("unit", "environment", "sysctl");

    /// <summary>All of them, in the order of the help.</summary>
    public Symbol[] All => [_bridge, _subnet, _hostIp, _runtime, _log, _work, _service, _bzImage, _vmlinux, DryRun, Undo, Print, _daemon];

    /// <summary>What a command line says; not checked yet.</summary>
    /// <param name="parsed">The command line.</param>
    /// <param name="findDaemon">Finds the daemon that is not named.</param>
    public SetupSettings Read(ParseResult parsed, Func<string> findDaemon) => new()
    {
        Daemon = parsed.GetValue(_daemon) ?? findDaemon(),
        Bridge = parsed.GetValue(_bridge),
        Subnet = parsed.GetValue(_subnet),
        HostIp = parsed.GetValue(_hostIp),
        BzImage = parsed.GetValue(_bzImage),
        Vmlinux = parsed.GetValue(_vmlinux),
        RuntimeDirectory = parsed.GetValue(_runtime) ?? SetupSettings.DefaultRuntimeDirectory,
        LogDirectory = parsed.GetValue(_log) ?? SetupSettings.DefaultLogDirectory,
        StateDirectory = parsed.GetValue(_work) ?? SetupSettings.DefaultStateDirectory,
        ServiceFile = parsed.GetValue(_service) ?? SetupSettings.DefaultServiceFile,
    };
}
