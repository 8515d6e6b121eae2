using System.CommandLine;
using System.Globalization;
using System.Net;
using Volant.Cli.Guests;
using Volant.Cli.Output;

namespace Volant.Cli.Commands;

/// <summary><c>volar vms port-forward</c>.</summary>
internal static class VmsPortForwardCommand
{
    private const int MaxPorts = 64;

    /// <summary>Makes the command.</summary>
    public static Command Create(CommandScope scope)
    {
        var name = Symbols.VmName();
        var ports = new Argument<string[]>("LOCAL:REMOTE") { Description = "Port here and port in the guest; ':REMOTE' takes a free one here, 'PORT' the same on both sides", Arity = new ArgumentArity(1, MaxPorts) };
        ports.Validators.Add(result =>
        {
            foreach (var token in result.Tokens.Where(token => ForwardedPort.TryParse(token.Value) is null))
            {
                result.AddError($"'{TerminalText.Clean(token.Value)}' is no pair of ports; write 8080:80, :80 or 80.");
            }
        });
        return scope.Define(
            "port-forward",
            "Lead ports of this machine's loopback address to ports in a VM, until Ctrl-C. The VM needs no network.",
            [name, ports],
            ["volar vms port-forward web 8080:80", "volar vms port-forward db :5432 9100"],
            async (parsed, run, cancellationToken) =>
            {
                var vm = parsed.GetRequiredValue(name);

                // Fails now when there is no such VM, not at the first connection.
                await run.Client.GetVmAsync(vm, cancellationToken);
                using var forwarder = new PortForwarder(run.Client, run.Talk, vm);
                foreach (var port in parsed.GetRequiredValue(ports).Select(text => ForwardedPort.TryParse(text)!.Value))
                {
                    Tell(run, vm, forwarder.Listen(IPAddress.Loopback, port), port.Remote);
                }

                await forwarder.RunAsync(cancellationToken);
                return ExitCodes.Ok;
            });
    }

    private static void Tell(CommandRun run, string vm, int local, int remote)
    {
        if (run.IsStructured)
        {
            run.PrintItem(JsonPrinter.Make(json =>
            {
                json.WriteStartObject();
                json.WriteString("vm", vm);
                json.WriteString("address", IPAddress.Loopback.ToString());
                json.WriteNumber("port", local);
                json.WriteNumber("guest_port", remote);
                json.WriteEndObject();
            }));
            return;
        }

        run.PrintLine(string.Create(CultureInfo.InvariantCulture, $"{IPAddress.Loopback}:{local} -> {vm}:{remote}"));
        run.Output.Flush();
    }
}
