using Volant.Fledge.Toml;

namespace Volant.Fledge.Oci;

/// <summary>Where an image of a registry is fetched.</summary>
/// <param name="Image">The image, with the registry that it is named after.</param>
/// <param name="Host">Host and port to speak with.</param>
/// <param name="Repository">Path of the repository there.</param>
/// <param name="IsPlain">Whether to speak without encryption.</param>
internal sealed record RegistryAddress(ImageReference.Registry Image, string Host, string Repository, bool IsPlain);

/// <summary>What the host says of registries: its <c>registries.conf</c>, which other tools for containers read too.</summary>
/// <remarks>
/// containers-registries.conf(5), format 2. Read are <c>unqualified-search-registries</c>, and <c>prefix</c>, <c>location</c>, <c>insecure</c> and <c>blocked</c> of
/// <c>[[registry]]</c>; mirrors, aliases and everything else are for other programs. Loopback addresses are always spoken to without encryption.
/// </remarks>
internal sealed class Registries
{
    /// <summary>Variable that names another file.</summary>
    public const string FileVariable = "CONTAINERS_REGISTRIES_CONF";

    private const string DefaultFile = "/etc/containers/registries.conf";
    private const string SearchKey = "unqualified-search-registries";

    private readonly string _file;
    private readonly List<string> _search = [];
    private readonly List<Rule> _rules = [];

    private Registries(string file) => _file = file;

    /// <summary>The file of this host.</summary>
    public static string FileOfThisHost => Environment.GetEnvironmentVariable(FileVariable) is { Length: > 0 } named ? Path.GetFullPath(named) : DefaultFile;

    /// <summary>Reads the file; one that does not exist says nothing.</summary>
    /// <exception cref="FledgeException">It is damaged: every fault with its place.</exception>
    public static Registries Read(string file)
    {
        var registries = new Registries(file);
        if (!File.Exists(file))
        {
            return registries;
        }

        var faults = new TomlFaults(file);
        var document = new TomlTableReader(TomlDocument.Read(file), string.Empty, faults);
        foreach (var name in document.Strings(SearchKey))
        {
            if (ImageReference.IsPlace(name))
            {
                registries._search.Add(name);
            }
            else
            {
                document.Fault(SearchKey, $"names '{name}', which is no HOST or HOST/PATH");
            }
        }

        foreach (var table in document.Tables("registry"))
        {
            registries.Add(table);
        }

        return faults.None ? registries : throw new FledgeException([.. faults.All]);
    }

    /// <summary>Finds out where an image is.</summary>
    /// <exception cref="FledgeException">Its name says no registry and none is to be searched, or its registry is blocked.</exception>
    public RegistryAddress Locate(ImageReference.Registry image)
    {
        var named = image.Host is null ? Qualify(image) : image;
        var name = $"{named.Host}/{named.Repository}";
        var rule = _rules.Where(candidate => candidate.Covers(name)).MaxBy(candidate => candidate.Prefix.Length);
        if (rule is { IsBlocked: true })
        {
            throw new FledgeException($"The registry of '{named.Text}' is blocked: '{rule.Prefix}' in '{_file}'.");
        }

        var (host, repository) = Split(rule?.Location is { } location ? rule.IsWildcard ? $"{location}/{named.Repository}" : location + name[rule.Prefix.Length..] : name);
        return new RegistryAddress(named, host, repository, RegistryClient.IsLoopback(host) || rule is { IsInsecure: true });
    }

    private ImageReference.Registry Qualify(ImageReference.Registry image)
    {
        if (_search is not [var only])
        {
            throw new FledgeException(_search.Count == 0
                ? $"The image '{image.Text}' names no registry: write HOST/{image.Text}, or set {SearchKey} in '{_file}'."
                : $"The image '{image.Text}' names no registry, and '{_file}' has several to search: write one of {string.Join(", ", _search.Select(place => $"{place}/{image.Text}"))}.");
        }

        var (host, repository) = Split($"{only}/{image.Repository}");
        return image with { Host = host, Repository = repository };
    }

    private void Add(TomlTableReader table)
    {
        var location = table.String("location") is { Length: > 0 } given ? given : null;
        var prefix = table.String("prefix") is { Length: > 0 } wanted ? wanted : location;
        if (location is not null && !ImageReference.IsPlace(location))
        {
            table.Fault("location", $"is '{location}', which is no HOST or HOST/PATH");
        }
        else if (prefix is null)
        {
            table.Fault("location", "is required where there is no 'prefix'");
        }
        else
        {
            _rules.Add(new Rule(prefix, location, table.Boolean("insecure") ?? false, table.Boolean("blocked") ?? false));
        }
    }

    private static (string Host, string Repository) Split(string name) => name.Split('/', 2) is [var host, var repository] ? (host, repository) : (name, string.Empty);

    /// <param name="Prefix">Start of names that it is for: <c>HOST</c>, <c>HOST/PATH</c> or <c>*.DOMAIN</c>.</param>
    /// <param name="Location">What stands in its place; null to leave it.</param>
    /// <param name="IsInsecure">Whether to speak without encryption.</param>
    /// <param name="IsBlocked">Whether nothing may be fetched.</param>
    private sealed record Rule(string Prefix, string? Location, bool IsInsecure, bool IsBlocked)
    {
        public bool IsWildcard => Prefix.StartsWith("*.", StringComparison.Ordinal);

        public bool Covers(string name) => IsWildcard
            ? name.Split('/')[0].EndsWith(Prefix[1..], StringComparison.Ordinal)
            : name.StartsWith(Prefix, StringComparison.Ordinal) && (name.Length == Prefix.Length || name[Prefix.Length] == '/');
    }
}
