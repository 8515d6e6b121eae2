using System.CommandLine;
using Volant.Cli.Output;
using Volant.Contracts;

namespace Volant.Cli.Commands;

/// <summary><c>volar version</c>: this program's version, without asking anyone.</summary>
internal static class VersionCommand
{
    /// <summary>Makes the command.</summary>
    public static Command Create(CommandScope scope) => scope.Define(
        "version",
        "Print the version of volar; does not ask volantd.",
        symbols: [],
        examples: ["volar version", "volar version --output json"],
        (_, run, _) =>
        {
            Write(run.Output, run.Format);
            return Task.FromResult(ExitCodes.Ok);
        });

    /// <summary>Prints the version.</summary>
    public static void Write(TextWriter output, OutputFormat format)
    {
        if (format == OutputFormat.Table)
        {
            output.WriteLine($"volar {ProductVersion.Text}");
            return;
        }

        JsonPrinter.Write(output, JsonPrinter.Make(writer =>
        {
            writer.WriteStartObject();
            writer.WriteString("version", ProductVersion.Text);
            writer.WriteEndObject();
        }), format);
    }
}
