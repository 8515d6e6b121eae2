using Volant.Cli.Api;
using Volant.Contracts.Api;

namespace Volant.Cli.Doctor;

/// <summary>Checks of the daemon: whether it answers, lets us in, and can run VMs.</summary>
internal static class DaemonChecks
{
    /// <summary>All of them; what depends on one that failed is left out.</summary>
    /// <param name="client">The daemon.</param>
    /// <param name="version">Version of this program.</param>
    /// <param name="cancellationToken">Cancelled by the user.</param>
    public static async Task<IReadOnlyList<Check>> RunAsync(VolantClient client, string version, CancellationToken cancellationToken)
    {
        var checks = new List<Check>();
        SystemInfo info;
        try
        {
            info = (await client.GetInfoAsync(cancellationToken)).Value;
        }
        catch (CliException e) when (e.ExitCode is ExitCodes.Unreachable or ExitCodes.TimedOut)
        {
            return [new Check("daemon", CheckResult.Failed, e.Message, e.Hint)];
        }
        catch (CliException e) when (e.IsDenied)
        {
            return [new Check("daemon", CheckResult.Ok, $"volantd answers at {client.Address}."), new Check("key", CheckResult.Failed, e.Message, e.Hint)];
        }
        catch (CliException e)
        {
            return [new Check("daemon", CheckResult.Failed, e.Message, e.Hint ?? "--api or VOLANT_API_BASE must lead to volantd itself")];
        }

        checks.Add(new Check("daemon", CheckResult.Ok, $"volantd {info.Version} answers at {client.Address}."));
        checks.Add(new Check("key", CheckResult.Ok, "It lets us in."));
        checks.Add(info.Version == version
            ? new Check("version", CheckResult.Ok, $"volar and volantd are both {version}.")
            : new Check("version", CheckResult.Warning, $"volar is {version}, volantd is {info.Version}.", "bring both to one version; what one of them does not know is refused with a reason"));
        try
        {
            await client.RequireReadyAsync(cancellationToken);
            checks.Add(new Check("ready", CheckResult.Ok, "It is ready to work."));
        }
        catch (CliException e)
        {
            checks.Add(new Check("ready", CheckResult.Failed, e.Message, e.Hint ?? "wait a moment and look again; the log of volantd says more"));
        }

        checks.Add(info.Hypervisors.Count > 0
            ? new Check("launcher", CheckResult.Ok, $"It runs VMs with {string.Join(", ", info.Hypervisors)}{(info.HypervisorVersion is { } hypervisor ? $" {hypervisor}" : string.Empty)}{(info.Kvm ? " and KVM" : ", emulated")}.")
            : new Check("launcher", CheckResult.Failed, info.HypervisorError ?? "It found no hypervisor.", "install qemu-system-x86 on its host, or set VOLANT_HYPERVISOR for it; its log says what it looked for"));
        return checks;
    }
}
