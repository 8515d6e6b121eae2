using System.Globalization;
using Volant.Contracts.Boot;

namespace Volant.StandIn;

/// <summary>What goes wrong, as the kernel command line says: <c>volant.fault=NAME[+NAME…][:NUMBER][@HOST]</c>, the last for the VM of that name alone.</summary>
/// <param name="Names">
/// <c>exec-fail</c>: ends at once with code NUMBER; <c>no-socket</c>: never serves its control socket; <c>slow-socket</c>: serves it NUMBER ms late;
/// <c>hang-api</c>: answers no command; <c>ignore-term</c>: SIGTERM does nothing; <c>never-ready</c>: the workload is not ready;
/// <c>mute-agent</c>: the agent never answers; <c>no-agent</c>: its port is left for somebody else to serve;
/// <c>crash-after</c>: ends with code 9 after NUMBER ms; <c>panic-after</c>: the guest's kernel panics after NUMBER ms;
/// <c>reset-after</c>: the guest resets itself after NUMBER ms; <c>hang-boot</c>: never answers <c>vm.boot</c>; both of Cloud Hypervisor alone;
/// <c>deaf</c>: a shutdown is accepted and nothing happens.
/// </param>
/// <param name="Number">See <paramref name="Names"/>.</param>
internal sealed record Fault(string[] Names, int Number)
{
    private const string Key = "volant.fault=";

    /// <summary>Nothing.</summary>
    public static Fault None { get; } = new([], 0);

    /// <summary>Reads it from a kernel command line.</summary>
    public static Fault Parse(string line)
    {
        var at = line.IndexOf(Key, StringComparison.Ordinal);
        if (at < 0)
        {
            return None;
        }

        var word = line[(at + Key.Length)..].Split(' ')[0].Split('@');
        if (word.Length > 1 && !line.Contains($" {BootKeys.Hostname}={word[1]} ", StringComparison.Ordinal))
        {
            return None;
        }

        var parts = word[0].Split(':');
        return new Fault(parts[0].Split('+'), parts.Length > 1 ? int.Parse(parts[1], CultureInfo.InvariantCulture) : 0);
    }

    /// <summary>Whether this is among them.</summary>
    public bool Is(string name) => Names.AsSpan().Contains(name);
}
