using System.CommandLine;
using Volant.Cli.Output;

namespace Volant.Cli.Commands;

/// <summary><c>volar version</c>: this program's version, without asking anyone.</summary>
internal static class VersionCommand
{
    /// <summary>Version of this program, as in the project file.</summary>
    public static string Version { get; } = typeof(VersionCommand).Assembly.GetName().Version?.ToString(3) ?? "0.0.0";

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
            output.WriteLine($"volar {Version}");
            return;
        }

        JsonPrinter.Write(output, JsonPrinter.Make(writer =>
        {
            writer.WriteStartObject();
            writer.WriteString("version", Version);
            writer.WriteEndObject();
        }), format);
    }
}
