using System.CommandLine;
using System.Text.Json;
using Volant.Fledge.Configuration;

namespace Volant.Fledge.Commands;

/// <summary><c>fledge schema</c>.</summary>
internal static class SchemaCommand
{
    /// <summary>Makes the command.</summary>
    public static Command Create(Terminal terminal)
    {
        var command = new Command("schema", "Print the JSON Schema of fledge.toml, for editors");
        command.SetAction((_, _) => FledgeApp.GuardAsync(terminal, () => terminal.Out.WriteLineAsync(BuildSchema.Build().ToJsonString(new JsonSerializerOptions
        {
            WriteIndented = true,
            Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
            TypeInfoResolver = FledgeJson.Default,
        }))));
        return command;
    }
}
