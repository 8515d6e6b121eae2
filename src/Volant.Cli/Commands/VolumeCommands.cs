using System.CommandLine;
using Volant.Cli.Api;
using Volant.Cli.Output;
using Volant.Contracts;
using Volant.Contracts.Api;
using Volant.Contracts.Manifests;

namespace Volant.Cli.Commands;

/// <summary>The verbs of <c>volar volumes</c>.</summary>
internal static class VolumeCommands
{
    /// <summary>Makes them.</summary>
    public static IEnumerable<Command> Create(CommandScope scope) => [CreateCreate(scope), CreateList(scope), CreateGet(scope), CreateResize(scope), CreateDelete(scope)];

    private static Command CreateCreate(CommandScope scope)
    {
        var (name, size) = (Name(), Size());
        return scope.Define(
            "create",
            "Create an empty volume: a disk that outlives VMs. A VM has it from its next start on when its configuration names it in 'volumes'.",
            [name, size],
            ["volar volumes create data --size 10240"],
            async (parsed, run, cancellationToken) =>
            {
                PrintRow(run, await run.Client.CreateVolumeAsync(new CreateVolumeRequest { Name = parsed.GetRequiredValue(name), SizeMb = parsed.GetValue(size) }, cancellationToken));
                return ExitCodes.Ok;
            });
    }

    private static Command CreateList(CommandScope scope)
    {
        var watch = Symbols.Watch();
        return scope.Define(
            "list",
            "List volumes by name.",
            [watch],
            ["volar volumes list"],
            (parsed, run, cancellationToken) => new ListPrinter<Volume>(
                run,
                volume => volume.Name,
                volumes => Table(volumes, run.Host.Clock),
                async () =>
                {
                    var all = await run.Client.ListVolumesAsync(cancellationToken);
                    return [.. all.Value.Zip(all.Json.EnumerateArray(), (value, json) => new Answer<Volume>(value, json))];
                }).RunAsync(parsed.GetValue(watch), cancellationToken));
    }

    private static Command CreateGet(CommandScope scope)
    {
        var name = Name();
        return scope.Define("get", "Show one volume.", [name], ["volar volumes get data --output yaml"], async (parsed, run, cancellationToken) =>
        {
            PrintRow(run, await run.Client.GetVolumeAsync(parsed.GetRequiredValue(name), cancellationToken));
            return ExitCodes.Ok;
        });
    }

    private static Command CreateResize(CommandScope scope)
    {
        var (name, size) = (Name(), Size());
        return scope.Define(
            "resize",
            "Enlarge a volume that no running VM has. The file system on it is enlarged in the guest, and a volume does not shrink.",
            [name, size],
            ["volar volumes resize data --size 20480"],
            async (parsed, run, cancellationToken) =>
            {
                PrintRow(run, await run.Client.ResizeVolumeAsync(parsed.GetRequiredValue(name), new ResizeVolumeRequest { SizeMb = parsed.GetValue(size) }, cancellationToken));
                return ExitCodes.Ok;
            });
    }

    private static Command CreateDelete(CommandScope scope)
    {
        var names = new Argument<string[]>("NAME") { Description = "Names of the volumes", Arity = ArgumentArity.OneOrMore };
        names.Validators.Add(result => Require(result.Tokens.Select(token => token.Value), result.AddError));
        return scope.Define(
            "delete",
            "Delete volumes with all that is on them; refused while a VM names one.",
            [names],
            ["volar volumes delete data"],
            (parsed, run, cancellationToken) => run.ForEachAsync(parsed.GetRequiredValue(names), async name =>
            {
                await run.Client.DeleteVolumeAsync(name, cancellationToken);
                run.Talk.Say($"Deleted volume '{name}'.");
            }));
    }

    private static Argument<string> Name()
    {
        var name = new Argument<string>("NAME") { Description = "Name of the volume" };
        name.Validators.Add(result => Require(result.Tokens.Select(token => token.Value), result.AddError));
        return name;
    }

    private static Option<int?> Size()
    {
        var size = Symbols.Number("--size", "MIB", "Size in MiB", 1, VolumeRules.MaxSizeMib);
        size.Required = true;
        return size;
    }

    private static void Require(IEnumerable<string> names, Action<string> refuse)
    {
        foreach (var name in names.Where(name => !Names.IsDnsLabel(name) || name.Length > ManifestRules.MaxDiskName))
        {
            refuse($"'{TerminalText.Clean(name)}' is no volume name: it must be 1 to {ManifestRules.MaxDiskName} lower-case letters, digits and inner hyphens.");
        }
    }

    private static void PrintRow(CommandRun run, Answer<Volume> volume)
    {
        if (run.Quiet && !run.IsStructured)
        {
            run.PrintLine(volume.Value.Name);
        }
        else
        {
            run.Print(volume.Json, () => Table([volume.Value], run.Host.Clock));
        }
    }

    private static TextTable Table(IEnumerable<Volume> volumes, TimeProvider clock)
    {
        var table = new TextTable("NAME", "SIZE", "VMS", "AGE");
        foreach (var volume in volumes)
        {
            table.Add(volume.Name, Amounts.Bytes((long)volume.SizeMb << 20), string.Join(",", volume.AttachedTo), Amounts.Age(clock.GetUtcNow() - volume.CreatedAt));
        }

        return table;
    }
}
