using System.CommandLine;
using Volant.Cli.Guests;

namespace Volant.Cli.Commands;

/// <summary><c>volar vms console</c>.</summary>
internal static class VmsConsoleCommand
{
    /// <summary>Makes the command.</summary>
    public static Command Create(CommandScope scope)
    {
        var name = Symbols.VmName();
        name.Arity = ArgumentArity.ZeroOrOne;
        var socket = Symbols.Text("--socket", "PATH", "Serial socket on this host, without asking volantd");
        var command = scope.Define(
            "console",
            "Attach to the serial console of a VM; Ctrl-] leaves, and the VM goes on.",
            [name, socket],
            ["volar vms console web", "volar vms console --socket /run/volant/UID/serial.sock"],
            async (parsed, run, cancellationToken) =>
            {
                run.Host.CatchInterrupts();
                var session = new ConsoleSession(run.Host, run.Talk);
                if (parsed.GetValue(socket) is { } path)
                {
                    await session.RunAsync(Path.GetFullPath(path, run.Host.WorkingDirectory), cancellationToken);
                    return ExitCodes.Ok;
                }

                var vm = parsed.GetRequiredValue(name);
                await using var console = await run.Client.OpenConsoleAsync(vm, cancellationToken);
                await session.RunAsync(console, vm, cancellationToken);
                return ExitCodes.Ok;
            });
        command.Validators.Add(result =>
        {
            if (result.GetResult(name) is not { Tokens.Count: > 0 } && result.GetResult(socket) is null)
            {
                result.AddError("Name the VM, or its socket with --socket.");
            }
        });
        return command;
    }
}
