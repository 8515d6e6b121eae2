using System.CommandLine;
using System.Text.Json;
using Volant.Cli.Doctor;
using Volant.Cli.Output;
using Volant.Contracts;

namespace Volant.Cli.Commands;

/// <summary><c>volar doctor</c>: looks at daemon and host, and says for everything that is wrong what to do.</summary>
internal static class DoctorCommand
{
    /// <summary>Makes the command.</summary>
    public static Command Create(CommandScope scope) => scope.Define(
        "doctor",
        "Check volantd and, where it runs here, this host; exit code 1 when something is wrong.",
        symbols: [],
        ["volar doctor", "volar doctor --output json"],
        async (_, run, cancellationToken) =>
        {
            List<Check> checks = [.. await DaemonChecks.RunAsync(run.Client, ProductVersion.Text, cancellationToken)];
            if (run.Client.IsLocal)
            {
                await foreach (var check in new HostChecks(new HostRoot(run.Host.Environment, run.Host.Root), run.Host.Clock).RunAsync(cancellationToken))
                {
                    checks.Add(check);
                }
            }
            else
            {
                checks.Add(new Check("host", CheckResult.Skipped, "volantd runs elsewhere; run 'volar doctor' there to check its host."));
            }

            run.Print(JsonPrinter.Make(json => Write(json, checks)), () => Table(checks));
            if (!run.IsStructured)
            {
                foreach (var check in checks.Where(check => check.Remedy is not null))
                {
                    run.PrintLine($"{check.Name}: {check.Remedy}");
                }
            }

            return checks.Any(check => check.Result == CheckResult.Failed) ? ExitCodes.Failed : ExitCodes.Ok;
        });

    private static TextTable Table(List<Check> checks)
    {
        var table = new TextTable("CHECK", "RESULT", "FOUND");
        foreach (var check in checks)
        {
            table.Add(check.Name, new Cell(check.Word, check.Result switch
            {
                CheckResult.Ok => Paint.Green,
                CheckResult.Warning => Paint.Yellow,
                CheckResult.Failed => Paint.Red,
                _ => Paint.None,
            }), check.Message);
        }

        return table;
    }

    private static void Write(Utf8JsonWriter json, List<Check> checks)
    {
        json.WriteStartArray();
        foreach (var check in checks)
        {
            json.WriteStartObject();
            json.WriteString("check", check.Name);
            json.WriteString("result", check.Word);
            json.WriteString("found", check.Message);
            if (check.Remedy is not null)
            {
                json.WriteString("remedy", check.Remedy);
            }

            json.WriteEndObject();
        }

        json.WriteEndArray();
    }
}
