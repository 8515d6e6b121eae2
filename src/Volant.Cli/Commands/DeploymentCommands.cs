using System.CommandLine;
using System.Globalization;
using Volant.Cli.Api;
using Volant.Cli.Media;
using Volant.Cli.Output;
using Volant.Contracts.Api;

namespace Volant.Cli.Commands;

/// <summary>The verbs of <c>volar deployments</c>.</summary>
internal static class DeploymentCommands
{
    /// <summary>Makes them.</summary>
    public static IEnumerable<Command> Create(CommandScope scope) => [CreateCreate(scope), CreateList(scope), CreateGet(scope), CreateScale(scope), CreateDelete(scope)];

    /// <summary>Prints one deployment as a table of one row, or its document.</summary>
    public static void PrintRow(CommandRun run, Answer<Deployment> deployment)
    {
        if (run.Quiet && !run.IsStructured)
        {
            run.PrintLine(deployment.Value.Name);
        }
        else
        {
            run.Print(deployment.Json, () => Table([deployment.Value], run.Host.Clock));
        }
    }

    private static Command CreateCreate(CommandScope scope)
    {
        var name = Symbols.DeploymentName();
        var config = Symbols.Text("--config", "FILE", "Configuration of every replica (JSON); 'plugin' is required in it");
        config.Required = true;
        var replicas = Symbols.Number("--replicas", "N", "How many replicas [default: 1]", 0, DeploymentRules.MaxReplicas);
        return scope.Define(
            "create",
            "Create a deployment: a number of VMs of one configuration, kept running.",
            [name, config, replicas],
            ["volar deployments create web --config web.json --replicas 3"],
            async (parsed, run, cancellationToken) =>
            {
                var (read, origin) = JsonDocuments.ReadConfigFile(parsed.GetRequiredValue(config)!, run.Host.WorkingDirectory);
                await using var uploads = new MediaUploads(run.Client, run.Talk, origin);
                var request = new CreateDeploymentRequest
                {
                    Name = parsed.GetRequiredValue(name),
                    Replicas = parsed.GetValue(replicas),
                    Config = await uploads.UploadAsync(read, cancellationToken),
                };
                PrintRow(run, await run.Client.CreateDeploymentAsync(request, cancellationToken));
                return ExitCodes.Ok;
            });
    }

    private static Command CreateList(CommandScope scope)
    {
        var watch = Symbols.Watch();
        return scope.Define(
            "list",
            "List deployments by name.",
            [watch],
            ["volar deployments list", "volar deployments list --watch"],
            (parsed, run, cancellationToken) => new ListPrinter<Deployment>(
                run,
                deployment => deployment.Name,
                deployments => Table(deployments, run.Host.Clock),
                async () =>
                {
                    var all = await run.Client.ListDeploymentsAsync(cancellationToken);
                    return [.. all.Value.Zip(all.Json.EnumerateArray(), (value, json) => new Answer<Deployment>(value, json))];
                }).RunAsync(parsed.GetValue(watch), cancellationToken));
    }

    private static Command CreateGet(CommandScope scope)
    {
        var name = Symbols.DeploymentName();
        return scope.Define(
            "get",
            "Show one deployment and its VMs.",
            [name],
            ["volar deployments get web", "volar deployments get web --output yaml"],
            async (parsed, run, cancellationToken) =>
            {
                var deployment = await run.Client.GetDeploymentAsync(parsed.GetRequiredValue(name), cancellationToken);
                if (run.IsStructured)
                {
                    run.Print(deployment.Json);
                    return ExitCodes.Ok;
                }

                var vms = await run.Client.ListVmsAsync(new VmFilter([], deployment.Value.Config.Plugin), cancellationToken);
                run.Print(Details(deployment.Value, run.Host.Clock));
                run.PrintLine(string.Empty);
                run.Print(VmView.Table(vms.Select(vm => vm.Value).Where(vm => vm.Deployment == deployment.Value.Name), run.Host.Clock));
                return ExitCodes.Ok;
            });
    }

    private static Command CreateScale(CommandScope scope)
    {
        var name = Symbols.DeploymentName();
        var replicas = new Argument<int>("N") { Description = $"How many replicas, 0 to {DeploymentRules.MaxReplicas}" };
        replicas.Validators.Add(result =>
        {
            if (result.Tokens is [var token] && !(int.TryParse(token.Value, NumberStyles.None, CultureInfo.InvariantCulture, out var count) && count <= DeploymentRules.MaxReplicas))
            {
                result.AddError($"N must be a number from 0 to {DeploymentRules.MaxReplicas}, not '{TerminalText.Clean(token.Value)}'.");
            }
        });
        return scope.Define(
            "scale",
            "Change the number of replicas.",
            [name, replicas],
            ["volar deployments scale web 5"],
            async (parsed, run, cancellationToken) =>
            {
                PrintRow(run, await run.Client.ChangeDeploymentAsync(parsed.GetRequiredValue(name), new UpdateDeploymentRequest { Replicas = parsed.GetRequiredValue(replicas) }, cancellationToken));
                return ExitCodes.Ok;
            });
    }

    private static Command CreateDelete(CommandScope scope)
    {
        var name = Symbols.DeploymentName();
        return scope.Define(
            "delete",
            "Delete a deployment with its VMs, their disks and logs.",
            [name],
            ["volar deployments delete web"],
            async (parsed, run, cancellationToken) =>
            {
                var deployment = parsed.GetRequiredValue(name);
                using var elapsed = run.Talk.Elapsed(() => $"Deleting deployment '{deployment}':");
                await run.Client.DeleteDeploymentAsync(deployment, cancellationToken);
                run.Tell(deployment, $"Deleted deployment '{deployment}'.", "deleted", value: true);
                return ExitCodes.Ok;
            });
    }

    private static TextTable Table(IEnumerable<Deployment> deployments, TimeProvider clock)
    {
        var table = new TextTable("NAME", "STATUS", "READY", "UPDATED", "PLUGIN", "REVISION", "AGE", "MESSAGE");
        foreach (var deployment in deployments)
        {
            table.Add(
                deployment.Name,
                StatusOf(deployment),
                Text($"{deployment.ReadyReplicas}/{deployment.DesiredReplicas}"),
                Text($"{deployment.UpdatedReplicas}"),
                deployment.Config.Plugin,
                Text($"{deployment.Revision}"),
                Amounts.Age(clock.GetUtcNow() - deployment.CreatedAt),
                deployment.Message);
        }

        return table;
    }

    private static TextTable Details(Deployment deployment, TimeProvider clock)
    {
        var table = new TextTable();
        table.Add("Name:", deployment.Name);
        table.Add("Status:", StatusOf(deployment));
        table.Add("Message:", deployment.Message);
        table.Add("Replicas:", Text($"{deployment.ReadyReplicas} ready, {deployment.UpdatedReplicas} updated, {deployment.DesiredReplicas} desired"));
        table.Add("Plugin:", deployment.Config.Plugin);
        table.Add("Revision:", Text($"{deployment.Revision}"));
        table.Add("Age:", Amounts.Age(clock.GetUtcNow() - deployment.CreatedAt));
        return table;
    }

    private static Cell StatusOf(Deployment deployment) => new(deployment.Status, deployment.Status switch
    {
        DeploymentStatuses.Healthy => Paint.Green,
        DeploymentStatuses.Degraded => Paint.Red,
        _ => Paint.Yellow,
    });

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
