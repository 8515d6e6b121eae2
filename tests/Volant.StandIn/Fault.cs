using System.Globalization;

namespace Volant.StandIn;

/// <summary>What goes wrong, as the kernel command line says: <c>volant.fault=NAME</c> or <c>volant.fault=NAME:NUMBER</c>.</summary>
/// <param name="Name">
/// <c>exec-fail</c>: ends at once with code NUMBER; <c>no-socket</c>: never serves its control socket; <c>slow-socket</c>: serves it NUMBER ms late;
/// <c>hang-api</c>: answers no command; <c>ignore-term</c>: SIGTERM does nothing; <c>never-ready</c>: the workload is not ready;
/// <c>mute-agent</c>: the agent never answers; <c>crash-after</c>: ends with code 9 after NUMBER ms; <c>panic-after</c>: the guest's kernel panics after NUMBER ms;
/// <c>deaf</c>: a shutdown is accepted and nothing happens.
/// </param>
/// <param name="Number">See <paramref name="Name"/>.</param>
internal sealed record Fault(string Name, int Number)
{
    private const string Key = "volant.fault=";

    /// <summary>Reads it from a kernel command line.</summary>
    public static Fault Parse(string line)
    {
        var at = line.IndexOf(Key, StringComparison.Ordinal);
        if (at < 0)
        {
            return new Fault(string.Empty, 0);
        }

        var word = line[(at + Key.Length)..].Split(' ')[0].Split(':');
        return new Fault(word[0], word.Length > 1 ? int.Parse(word[1], CultureInfo.InvariantCulture) : 0);
    }

    /// <summary>Whether it is this one.</summary>
    public bool Is(string name) => Name == name;
}
