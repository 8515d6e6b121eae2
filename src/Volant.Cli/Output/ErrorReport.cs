using System.Text.Json;

namespace Volant.Cli.Output;

/// <summary>Prints a failure on standard error, for people or as a problem document.</summary>
internal static class ErrorReport
{
    /// <summary>One line, one indented line per field, and the hint; with another format the problem document instead.</summary>
    public static void Write(TextWriter error, CliException failure, OutputFormat format)
    {
        if (format != OutputFormat.Table)
        {
            WriteDocument(error, failure, format);
            return;
        }

        error.WriteLine($"Error: {TerminalText.Clean(failure.Message)}");

        // The daemon's sentence often says the same already.
        foreach (var field in failure.Fields.Where(field => !failure.Message.Contains($"{field.Path} {field.Message}", StringComparison.Ordinal)))
        {
            error.WriteLine($"  {TerminalText.Clean(field.Path)}: {TerminalText.Clean(field.Message)}");
        }

        if (failure.Hint is { } hint)
        {
            error.WriteLine($"Hint: {TerminalText.Clean(hint)}");
        }
    }

    private static void WriteDocument(TextWriter error, CliException failure, OutputFormat format)
    {
        if (failure.ProblemJson is { } sent)
        {
            using var document = JsonDocument.Parse(sent);
            JsonPrinter.Write(error, document.RootElement, format);
            return;
        }

        JsonPrinter.Write(error, JsonPrinter.Make(writer =>
        {
            writer.WriteStartObject();
            writer.WriteString("type", "about:blank");
            writer.WriteString("detail", failure.Message);
            writer.WriteString("error", failure.Message);
            writer.WriteString("code", failure.Code ?? "failed");
            if (failure.Fields.Count > 0)
            {
                writer.WriteStartObject("errors");
                foreach (var field in failure.Fields.GroupBy(field => field.Path, StringComparer.Ordinal))
                {
                    writer.WriteStartArray(field.Key);
                    foreach (var fault in field)
                    {
                        writer.WriteStringValue(fault.Message);
                    }

                    writer.WriteEndArray();
                }

                writer.WriteEndObject();
            }

            writer.WriteEndObject();
        }), format);
    }
}
