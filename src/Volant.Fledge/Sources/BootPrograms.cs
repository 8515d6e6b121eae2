using Volant.Fledge.Configuration;
using Volant.Fledge.Initramfs;

namespace Volant.Fledge.Sources;

/// <summary>Where programs and images come from when the build file does not say.</summary>
/// <param name="Agents">Candidate paths of the agent, best first.</param>
/// <param name="Busyboxes">Candidate paths of a static busybox, best first.</param>
/// <param name="CacheDirectory">Where verified downloads stay.</param>
/// <param name="RegistriesFile">The host's <c>registries.conf</c>.</param>
internal sealed record ProgramDefaults(IReadOnlyList<string> Agents, IReadOnlyList<string> Busyboxes, string CacheDirectory, string RegistriesFile)
{
    /// <summary>Name of the variable that names another agent.</summary>
    public const string AgentVariable = "FLEDGE_AGENT";

    /// <summary>The defaults of this host and installation.</summary>
    public static ProgramDefaults OfThisHost()
    {
        var agents = new List<string>();
        if (Environment.GetEnvironmentVariable(AgentVariable) is { Length: > 0 } agent)
        {
            agents.Add(Path.GetFullPath(agent));
        }
        else
        {
            agents.Add(Path.Combine(AppContext.BaseDirectory, "kestrel"));
        }

        var cache = Environment.GetEnvironmentVariable("XDG_CACHE_HOME") is { Length: > 0 } directory && Path.IsPathRooted(directory)
            ? directory
            : Environment.GetEnvironmentVariable("HOME") is { Length: > 0 } home ? Path.Combine(home, ".cache") : "/var/cache";
        return new ProgramDefaults(agents, ["/bin/busybox", "/usr/bin/busybox"], Path.Combine(cache, "volant", "fledge"), Oci.Registries.FileOfThisHost);
    }
}

/// <summary>Finds the agent and busybox and makes sure that each can run in the guest.</summary>
internal sealed class BootPrograms(ProgramDefaults defaults, VerifiedDownload download)
{
    /// <summary>Path of the agent; null when the build file wants none.</summary>
    public Task<string?> FindAgentAsync(ProgramSource? source, CancellationToken cancellationToken) =>
        FindAsync(
            "agent",
            source,
            defaults.Agents,
            $"Publish it beside fledge (scripts/build.sh), set {ProgramDefaults.AgentVariable}, or set 'agent.path' in the build file.",
            cancellationToken);

    /// <summary>Path of busybox; null when the build file wants none.</summary>
    public Task<string?> FindBusyboxAsync(ProgramSource? source, CancellationToken cancellationToken) =>
        FindAsync(
            "busybox",
            source,
            defaults.Busyboxes,
            "Install the package busybox-static, set 'source.busybox_url' and 'source.busybox_sha256', or do without: 'source.busybox = false'.",
            cancellationToken);

    private async Task<string?> FindAsync(string what, ProgramSource? source, IReadOnlyList<string> candidates, string remedy, CancellationToken cancellationToken)
    {
        var path = source switch
        {
            null => null,
            ProgramSource.Local local => local.Path,
            ProgramSource.Download wanted => await download.FetchAsync(wanted, cancellationToken),
            _ => candidates.FirstOrDefault(File.Exists) ?? throw new FledgeException($"There is no {what} at {string.Join(" or ", candidates)}. {remedy}"),
        };
        if (path is null)
        {
            return null;
        }

        try
        {
            await using var file = File.OpenRead(path);
            return StaticProgram.Fault(file) is { } fault
                ? throw new FledgeException($"The {what} '{path}' {fault}. {remedy}")
                : path;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new FledgeException($"Cannot read the {what} '{path}': {e.Message} {remedy}", e);
        }
    }
}
