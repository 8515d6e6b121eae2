using System.CommandLine;
using Volant.Cli.Output;

namespace Volant.Cli.Commands;

/// <summary><c>volar vms logs</c>: what the workload printed, without what could drive the terminal.</summary>
internal static class VmsLogsCommand
{
    private const int ChunkBytes = 16 * 1024;

    /// <summary>Makes the command.</summary>
    public static Command Create(CommandScope scope)
    {
        var name = Symbols.VmName();
        var tail = Symbols.Number("--tail", "N", "Only the last N lines", 0, int.MaxValue);
        var follow = new Option<bool>("--follow", "-f") { Description = "Go on printing until Ctrl-C" };
        var raw = new Option<bool>("--raw") { Description = "Print the bytes as they are, escape sequences of the guest included" };
        return scope.Define(
            "logs",
            "Print the log of a VM's workload.",
            [name, tail, follow, raw],
            ["volar vms logs web --tail 50", "volar vms logs web --follow"],
            async (parsed, run, cancellationToken) =>
            {
                using var response = await run.Client.OpenLogsAsync(parsed.GetRequiredValue(name), parsed.GetValue(tail), parsed.GetValue(follow), cancellationToken);
                await using var log = await response.Content.ReadAsStreamAsync(cancellationToken);
                await CopyAsync(run, log, parsed.GetValue(raw), cancellationToken);
                return ExitCodes.Ok;
            });
    }

    private static async Task CopyAsync(CommandRun run, Stream log, bool raw, CancellationToken cancellationToken)
    {
        var filter = new LogFilter(run.Output);
        var chunk = new byte[ChunkBytes];
        while (await ReadAsync(run, log, chunk, cancellationToken) is > 0 and var read)
        {
            if (raw)
            {
                await run.Host.Output.WriteAsync(chunk.AsMemory(0, read), cancellationToken);
            }
            else
            {
                filter.Write(chunk.AsSpan(0, read));
                filter.Flush();
            }
        }
    }

    private static async Task<int> ReadAsync(CommandRun run, Stream log, byte[] chunk, CancellationToken cancellationToken)
    {
        try
        {
            return await log.ReadAsync(chunk, cancellationToken);
        }
        catch (Exception e) when (e is IOException or HttpRequestException)
        {
            throw run.Client.BrokenStream(e);
        }
    }
}
