using Volant.Cli.Api;
using Volant.Cli.Output;

namespace Volant.Cli.Commands;

/// <summary>Prints a list once, or goes on showing it: redrawn in place on a terminal, appended elsewhere.</summary>
/// <typeparam name="T">What is listed.</typeparam>
/// <param name="run">Output and clock.</param>
/// <param name="nameOf">The name of an item, which identifies it.</param>
/// <param name="table">A headed table of items.</param>
/// <param name="read">Reads the list.</param>
internal sealed class ListPrinter<T>(CommandRun run, Func<T, string> nameOf, Func<IEnumerable<T>, TextTable> table, Func<Task<IReadOnlyList<Answer<T>>>> read)
{
    private static readonly TimeSpan Pause = TimeSpan.FromSeconds(1);

    /// <summary>Prints the list.</summary>
    public async Task<int> RunAsync(bool watch, CancellationToken cancellationToken)
    {
        var items = await read();
        if (!watch)
        {
            Print(items);
            return ExitCodes.Ok;
        }

        if (run.Host.OutputIsTerminal && !run.IsStructured && !run.Quiet)
        {
            await RedrawAsync(items, cancellationToken);
        }
        else
        {
            await AppendAsync(items, cancellationToken);
        }

        return ExitCodes.Ok;
    }

    private void Print(IReadOnlyList<Answer<T>> items)
    {
        if (run.IsStructured)
        {
            run.Print(JsonPrinter.MakeArray(items.Select(item => item.Json)));
        }
        else if (run.Quiet)
        {
            run.PrintLines(items.Select(item => nameOf(item.Value)));
        }
        else
        {
            run.Print(table(items.Select(item => item.Value)));
        }
    }

    private async Task RedrawAsync(IReadOnlyList<Answer<T>> items, CancellationToken cancellationToken)
    {
        var drawn = 0;
        while (true)
        {
            drawn = run.Redraw(table(items.Select(item => item.Value)), drawn);
            items = await NextAsync(items, cancellationToken);
        }
    }

    private async Task AppendAsync(IReadOnlyList<Answer<T>> items, CancellationToken cancellationToken)
    {
        var shown = new Dictionary<string, string>(StringComparer.Ordinal);
        var first = true;
        while (true)
        {
            var changed = items.Where(item => !shown.TryGetValue(nameOf(item.Value), out var text) || text != item.Json.GetRawText()).ToArray();
            var gone = shown.Keys.Except(items.Select(item => nameOf(item.Value)), StringComparer.Ordinal).ToArray();
            if (first || changed.Length > 0 || gone.Length > 0)
            {
                Append(changed, gone, first);
            }

            first = false;
            shown = items.ToDictionary(item => nameOf(item.Value), item => item.Json.GetRawText(), StringComparer.Ordinal);
            items = await NextAsync(items, cancellationToken);
        }
    }

    private void Append(Answer<T>[] changed, string[] gone, bool first)
    {
        if (run.IsStructured)
        {
            foreach (var item in changed)
            {
                run.PrintItem(item.Json);
            }

            foreach (var name in gone)
            {
                run.PrintItem(JsonPrinter.MakeFlag(name, "deleted", value: true));
            }
        }
        else if (run.Quiet)
        {
            run.PrintLines(changed.Select(item => nameOf(item.Value)));
        }
        else
        {
            table(changed.Select(item => item.Value)).Write(run.Output, Screen.Plain, withHeader: first);
            run.PrintLines(gone.Select(name => $"{name}  deleted"));
        }

        run.Output.Flush();
    }

    private async Task<IReadOnlyList<Answer<T>>> NextAsync(IReadOnlyList<Answer<T>> last, CancellationToken cancellationToken)
    {
        await Task.Delay(Pause, run.Host.Clock, cancellationToken);
        try
        {
            var items = await read();
            run.Talk.EndProgress();
            return items;
        }
        catch (CliException e) when (e.ExitCode is ExitCodes.Unreachable or ExitCodes.TimedOut)
        {
            // The last known state stays on the screen while the daemon restarts.
            run.Talk.Progress(e.Message);
            return last;
        }
    }
}
