using System.CommandLine;
using System.Text.Json;
using Volant.Cli.Api;
using Volant.Contracts;
using Volant.Contracts.Api;
using Volant.Contracts.Manifests;

namespace Volant.Cli.Commands;

/// <summary><c>volar vms scale</c>: another size of a VM, or another number of replicas.</summary>
internal static class VmsScaleCommand
{
    /// <summary>Makes the command.</summary>
    public static Command Create(CommandScope scope)
    {
        var name = Symbols.VmName("Name of the VM; with --replicas of a deployment, or of one of its VMs");
        var cpu = Symbols.Number("--cpu", "N", "Virtual CPUs", 1, ManifestRules.MaxCpuCores);
        var memory = Symbols.Number("--memory", "MIB", "Memory in MiB", 1, ManifestRules.MaxMemoryMib);
        var restart = new Option<bool>("--restart") { Description = "Restart the VM now, so that it takes effect" };
        var replicas = Symbols.Number("--replicas", "N", "Replicas of the deployment", 0, DeploymentRules.MaxReplicas);
        return scope.Define(
            "scale",
            "Change the size of a VM, from its next start on, or the number of replicas of a deployment.",
            [name, cpu, memory, restart, replicas],
            ["volar vms scale web --cpu 4 --memory 2048 --restart", "volar vms scale web --replicas 3"],
            (parsed, run, cancellationToken) =>
            {
                var (cores, mib, count) = (parsed.GetValue(cpu), parsed.GetValue(memory), parsed.GetValue(replicas));
                var resizes = cores is not null || mib is not null || parsed.GetValue(restart);
                return (resizes, count) switch
                {
                    (true, not null) => throw CliException.Usage("--replicas cannot be combined with --cpu, --memory or --restart; call it twice."),
                    (false, null) => throw CliException.Usage("Say what to change: --cpu, --memory or --replicas."),
                    (_, { } wanted) => ReplicateAsync(run, parsed.GetRequiredValue(name), wanted, cancellationToken),
                    _ => ResizeAsync(run, parsed.GetRequiredValue(name), cores, mib, parsed.GetValue(restart), cancellationToken),
                };
            });
    }

    private static async Task<int> ResizeAsync(CommandRun run, string name, int? cpu, int? memory, bool restart, CancellationToken cancellationToken)
    {
        if (cpu is not null || memory is not null)
        {
            var patch = new VmConfig { Resources = new ManifestResources { CpuCores = cpu, MemoryMb = memory } };
            await run.Client.PatchConfigAsync(name, JsonSerializer.SerializeToUtf8Bytes(patch, ContractsJson.Default.VmConfig), version: null, cancellationToken);
        }

        if (!restart)
        {
            run.Talk.Say($"VM '{name}' has the new size from its next start on: 'volar vms restart {name}'.");
            run.PrintRow(await run.Client.GetVmAsync(name, cancellationToken));
            return ExitCodes.Ok;
        }

        run.PrintRow(await run.Client.ChangeVmAsync(name, new VmChange("restart", Grace: null, Wait: null), cancellationToken));
        return ExitCodes.Ok;
    }

    private static async Task<int> ReplicateAsync(CommandRun run, string name, int replicas, CancellationToken cancellationToken)
    {
        var change = new UpdateDeploymentRequest { Replicas = replicas };
        Answer<Deployment> deployment;
        try
        {
            deployment = await run.Client.ChangeDeploymentAsync(name, change, cancellationToken);
        }
        catch (CliException e) when (e.IsNotFound)
        {
            var owner = (await run.Client.GetVmAsync(name, cancellationToken)).Value.Deployment ??
                throw new CliException(ExitCodes.Failed, $"VM '{name}' belongs to no deployment, so that it has no replicas.", e) { Code = "no_deployment", Hint = "'volar deployments create' makes VMs that can be replicated" };
            deployment = await run.Client.ChangeDeploymentAsync(owner, change, cancellationToken);
        }

        DeploymentCommands.PrintRow(run, deployment);
        return ExitCodes.Ok;
    }
}
