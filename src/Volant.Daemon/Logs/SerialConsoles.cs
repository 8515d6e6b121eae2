using System.Collections.Concurrent;

namespace Volant.Daemon.Logs;

/// <summary>Shares the serial console of each VM among its viewers.</summary>
internal sealed class SerialConsoles(TimeProvider clock)
{
    private readonly ConcurrentDictionary<string, SerialConsole> _consoles = new(StringComparer.Ordinal);

    /// <summary>Joins the console behind a socket; the first viewer connects to it, the last one to leave hangs up.</summary>
    /// <param name="socketPath">Serial socket of the hypervisor, which serves one connection at a time.</param>
    /// <param name="logPath">Its log, whose end a viewer gets first.</param>
    /// <param name="cancellationToken">Gives up.</param>
    /// <exception cref="VolantException"><c>agent_unreachable</c> or <c>unavailable</c>.</exception>
    public async Task<SerialViewer> JoinAsync(string socketPath, string logPath, CancellationToken cancellationToken)
    {
        while (true)
        {
            var console = _consoles.GetOrAdd(socketPath, path => new SerialConsole(path, logPath, clock, Forget));
            if (await console.TryJoinAsync(cancellationToken) is { } viewer)
            {
                return viewer;
            }
        }
    }

    private void Forget(SerialConsole console) => _consoles.TryRemove(KeyValuePair.Create(console.SocketPath, console));
}
