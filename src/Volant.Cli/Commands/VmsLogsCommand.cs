using System.CommandLine;
using System.Globalization;
using System.Text;
using Volant.Cli.Api;
using Volant.Cli.Output;
using Volant.Contracts.Api;

namespace Volant.Cli.Commands;

/// <summary><c>volar vms logs</c>: what the workload printed, without what could drive the terminal.</summary>
internal static class VmsLogsCommand
{
    private const int MaxTail = 10_000;

    /// <summary>Makes the command.</summary>
    public static Command Create(CommandScope scope)
    {
        var name = Symbols.VmName();
        var tail = Symbols.Number("--tail", "N", "Most lines of what is there [default: 1000]", 0, MaxTail);
        var since = Symbols.Text("--since", "TIME", "No lines before: 10m ago, or 2026-01-31T12:00:00Z");
        var stream = Symbols.Text("--stream", "stdout|stderr|console", "Only this stream; console is the serial console").AcceptOnlyFromAmong(LogStreams.Stdout, LogStreams.Stderr, LogStreams.Console);
        var follow = new Option<bool>("--follow", "-f") { Description = "Go on printing until Ctrl-C or the VM is deleted" };
        var timestamps = new Option<bool>("--timestamps", "-t") { Description = "Start every line with its time, as the guest's clock had it" };
        var raw = new Option<bool>("--raw") { Description = "Print lines as they are, escape sequences of the guest included" };
        return scope.Define(
            "logs",
            "Print the log of a VM's workload.",
            [name, tail, since, stream, follow, timestamps, raw],
            ["volar vms logs web --tail 50", "volar vms logs web --follow --since 10m", "volar vms logs web --stream stderr --output json"],
            async (parsed, run, cancellationToken) =>
            {
                var query = new LogFilterQuery(parsed.GetValue(tail), parsed.GetValue(since), parsed.GetValue(stream));
                var printer = new LogPrinter(run, parsed.GetValue(timestamps), parsed.GetValue(raw));
                await foreach (var line in run.Client.ReadLogsAsync(parsed.GetRequiredValue(name), query, parsed.GetValue(follow), run.Talk.Warn, cancellationToken))
                {
                    printer.Print(line);
                }

                return ExitCodes.Ok;
            });
    }

    private sealed class LogPrinter(CommandRun run, bool timestamps, bool raw)
    {
        private readonly LogFilter _filter = new(run.Output);

        public void Print(Answer<LogLine> line)
        {
            if (run.IsStructured)
            {
                run.PrintItem(line.Json);
                return;
            }

            if (line.Value.Stream == LogStreams.Notice)
            {
                run.Talk.Warn($"Note: {line.Value.Line}");
                return;
            }

            if (timestamps)
            {
                run.Output.Write(line.Value.Timestamp.UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss.fff'Z '", CultureInfo.InvariantCulture));
            }

            if (raw)
            {
                run.Output.WriteLine(line.Value.Line);
            }
            else
            {
                _filter.Write(Encoding.UTF8.GetBytes(line.Value.Line));
                _filter.Write("\n"u8);
            }

            run.Output.Flush();
        }
    }
}
