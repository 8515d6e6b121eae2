using Volant.Fledge;
using Volant.Fledge.Oci;
using static Volant.Tests.Fledge.OciImage;

namespace Volant.Tests.Fledge;

/// <summary><c>registries.conf</c> says where an image is.</summary>
public sealed class RegistriesTests
{
    private const string Mapped = """
        unqualified-search-registries = ["hub.example/library"]
        short-name-mode = "permissive"

        [[registry]]
        prefix = "hub.example"
        location = "mirror.example:5000/cache"

        [[registry]]
        prefix = "hub.example/library/secret"
        blocked = true

        [[registry]]
        location = "lab.example"
        insecure = true

        [[registry]]
        prefix = "*.wild.example"
        location = "tame.example"

        [[registry.mirror]]
        location = "elsewhere.example"

        [aliases]
        "app" = "nowhere.example/app"
        """;

    [Theory]
    [InlineData("app:1", "hub.example/library/app:1", "mirror.example:5000", "cache/library/app", false)]
    [InlineData("team/app", "hub.example/library/team/app:latest", "mirror.example:5000", "cache/library/team/app", false)]
    [InlineData("hub.example/x", "hub.example/x:latest", "mirror.example:5000", "cache/x", false)]
    [InlineData("hub.example.org/x", "hub.example.org/x:latest", "hub.example.org", "x", false)]
    [InlineData("lab.example/a/b@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "lab.example/a/b@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "lab.example", "a/b", true)]
    [InlineData("lab.example:80/a", "lab.example:80/a:latest", "lab.example:80", "a", false)]
    [InlineData("very.wild.example/a/b", "very.wild.example/a/b:latest", "tame.example", "a/b", false)]
    [InlineData("other.example/a", "other.example/a:latest", "other.example", "a", false)]
    [InlineData("127.0.0.1:5000/a", "127.0.0.1:5000/a:latest", "127.0.0.1:5000", "a", true)]
    public void A_name_is_looked_up_where_the_file_says(string name, string text, string host, string repository, bool isPlain)
    {
        using var tree = new TempTree();
        tree.Write("registries.conf", Mapped);

        var found = Locate(tree, name);

        Assert.Equal((text, host, repository, isPlain), (found.Image.Text, found.Host, found.Repository, found.IsPlain));
    }

    [Theory]
    [InlineData(null, "app:1", "The image 'app:1' names no registry: write HOST/app:1, or set unqualified-search-registries in '{0}'.")]
    [InlineData("unqualified-search-registries = []", "app", "The image 'app:latest' names no registry: write HOST/app:latest, or set")]
    [InlineData("unqualified-search-registries = [\"a.example\", \"b.example\"]", "app", "has several to search: write one of a.example/app:latest, b.example/app:latest.")]
    [InlineData(Mapped, "secret", "The registry of 'hub.example/library/secret:latest' is blocked: 'hub.example/library/secret' in '{0}'.")]
    [InlineData("unqualified-search-registries = \"a.example\"", "x.example/app", "{0}:1:1: 'unqualified-search-registries' must be an array, not a string.")]
    [InlineData("unqualified-search-registries = [\"not a host\"]", "x.example/app", "names 'not a host', which is no HOST or HOST/PATH")]
    [InlineData("[[registry]]\ninsecure = true", "x.example/app", "'registry.location' is required where there is no 'prefix'")]
    [InlineData("[[registry]]\nlocation = \"https://x.example\"", "x.example/app", "is 'https://x.example', which is no HOST or HOST/PATH")]
    [InlineData("[[registry]]\nlocation = \"x.example\"\ninsecure = \"yes\"", "x.example/app", "'registry.insecure' must be a boolean, not a string")]
    [InlineData("unqualified-search-registries = [", "x.example/app", "{0}:1:")]
    public void What_cannot_be_looked_up_is_refused_with_cause_and_remedy(string? config, string name, string expected)
    {
        using var tree = new TempTree();
        if (config is not null)
        {
            tree.Write("registries.conf", config);
        }

        var failure = Assert.Throws<FledgeException>(() => Locate(tree, name));

        Assert.Contains(expected.Replace("{0}", tree["registries.conf"], StringComparison.Ordinal), string.Join('\n', failure.Faults), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_short_name_is_built_from_the_registry_to_search()
    {
        await using var registry = new FakeRegistry();
        registry.Push("cache/team/app", "1", RootfsBuildTests.Run, Layer(RootfsBuildTests.App));
        using var tree = FledgeRun.Project(RootfsBuildTests.Config.Replace("oci:image", "app:1", StringComparison.Ordinal));
        tree.Write("registries.conf", $"""
            unqualified-search-registries = ["hub.example/team"]
            [[registry]]
            prefix = "hub.example"
            location = "{registry.Host}/cache"
            """);

        await RootfsBuildTests.BuildAsync(tree);

        Assert.Contains("\"image\": \"hub.example/team/app:1\"", await File.ReadAllTextAsync(tree["out/x.manifest.json"], TestContext.Current.CancellationToken), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_damaged_file_stops_no_build_without_a_registry()
    {
        using var tree = RootfsBuildTests.Project(Layer(RootfsBuildTests.App));
        tree.Write("registries.conf", "[[");

        await RootfsBuildTests.BuildAsync(tree);
    }

    private static RegistryAddress Locate(TempTree tree, string name) =>
        Registries.Read(tree["registries.conf"]).Locate((ImageReference.Registry)ImageReference.Parse(name, "/"));
}
