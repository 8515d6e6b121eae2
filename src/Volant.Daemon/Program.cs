using System.Collections;
using System.Net.Sockets;
using Volant.Contracts;
using Volant.Daemon;

const int Success = 0;
const int Failure = 1;
const int Usage = 2;
const int BadConfiguration = 78; // EX_CONFIG of sysexits.h

switch (args)
{
    case [] or ["--check"]:
        break;
    case ["--version"]:
        Console.WriteLine($"volantd {ProductVersion.Text}");
        return Success;
    case ["--help" or "-h"]:
        Console.Write(DaemonHelp.Text);
        return Success;
    default:
        await Console.Error.WriteLineAsync($"volantd: unknown argument '{args[0]}'. See 'volantd --help'.");
        return Usage;
}

try
{
    Volant.Linux.Kernel.ProcessLimits.SetFileModeMask((UnixFileMode)0b000_111_111);
    var environment = Environment.GetEnvironmentVariables().Cast<DictionaryEntry>()
        .ToDictionary(entry => (string)entry.Key, entry => (string?)entry.Value ?? string.Empty, StringComparer.Ordinal);
    var options = DaemonEnvironment.Read(environment);
    if (args is ["--check"])
    {
        Console.WriteLine($"The configuration is valid; volantd would listen on {options.Listen}.");
        return Success;
    }

    OwnDirectories.Prepare(options);
    using var state = await StateLock.TakeAsync(options.StateDirectory, TimeProvider.System);
    ListenSocket.RemoveStale(options.Listen);
    await using var app = DaemonHost.Build(options);
    await app.StartAsync();
    ServiceManager.Tell(options.NotifySocket, ServiceManager.Ready);
    app.Lifetime.ApplicationStopping.Register(() => ServiceManager.Tell(options.NotifySocket, ServiceManager.Stopping));
    await app.WaitForShutdownAsync();
    return Success;
}
catch (ConfigurationException e)
{
    await Console.Error.WriteLineAsync($"volantd: {e.Message}");
    return BadConfiguration;
}
catch (IOException e) when (e.InnerException is Microsoft.AspNetCore.Connections.AddressInUseException or SocketException)
{
    await Console.Error.WriteLineAsync($"volantd: VOLANT_API_LISTEN: {e.Message} Stop what listens there, or choose another address.");
    return Failure;
}
