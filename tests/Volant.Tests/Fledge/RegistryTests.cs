using System.Text;
using System.Text.Json.Nodes;
using Volant.Fledge.Oci;
using static Volant.Tests.Fledge.OciImage;

namespace Volant.Tests.Fledge;

/// <summary>Images of registries that behave in every way but the right one.</summary>
public sealed class RegistryTests
{
    [Fact]
    public async Task An_image_is_fetched_verified_and_fetched_no_second_time()
    {
        await using var registry = new FakeRegistry();
        var digest = registry.Push("team/app", "1", RootfsBuildTests.Run, Layer(RootfsBuildTests.App), Layer(Regular("second", "2")));
        using var tree = Project(registry, "team/app:1");

        var image = await RootfsBuildTests.BuildAsync(tree);
        var first = registry.Requests.Count;
        await RootfsBuildTests.BuildAsync(tree);

        Assert.Equal("2", Encoding.UTF8.GetString(await image.ReadAsync("/second")));
        Assert.Equal(first + 1, registry.Requests.Count);
        Assert.Contains($"\"image_digest\": \"{digest}\"", await File.ReadAllTextAsync(tree["out/x.manifest.json"], TestContext.Current.CancellationToken), StringComparison.Ordinal);
        Assert.Contains("\"version\": \"1\"", await File.ReadAllTextAsync(tree["out/x.manifest.json"], TestContext.Current.CancellationToken), StringComparison.Ordinal);
        Assert.DoesNotContain(tree.Names("cache/oci"), name => name.EndsWith(".partial", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Of_an_index_the_image_for_this_machine_is_taken()
    {
        await using var registry = new FakeRegistry();
        registry.Push("app", "other", """{"Cmd": ["/other"]}""", Layer(Regular("other", "o", 0x1ED)));
        var digest = registry.Push("app", "mine", RootfsBuildTests.Run, Layer(RootfsBuildTests.App));
        registry.Put("/v2/app/manifests/latest", Encoding.UTF8.GetBytes(new JsonObject
        {
            ["schemaVersion"] = 2,
            ["manifests"] = new JsonArray(
                new JsonObject { ["digest"] = "sha256:" + new string('b', 64), ["size"] = 3, ["platform"] = new JsonObject { ["os"] = "linux", ["architecture"] = "s390x" } },
                new JsonObject { ["digest"] = "sha256:" + new string('c', 64), ["size"] = 3, ["platform"] = new JsonObject { ["os"] = "unknown", ["architecture"] = "unknown" } },
                new JsonObject { ["digest"] = digest, ["size"] = await ManifestSizeAsync(registry, digest), ["platform"] = new JsonObject { ["os"] = "linux", ["architecture"] = "amd64" } }),
        }.ToJsonString()));
        using var tree = Project(registry, "app");

        await RootfsBuildTests.BuildAsync(tree);
    }

    [Fact]
    public async Task A_token_is_fetched_when_asked_for_and_sent_to_the_registry_alone()
    {
        await using var registry = new FakeRegistry();
        await using var elsewhere = new FakeRegistry();
        registry.Push("app", "latest", RootfsBuildTests.Run, Layer(RootfsBuildTests.App));
        registry.Intercept = (path, request) =>
            path.StartsWith("/token?", StringComparison.Ordinal) ? FakeRegistry.Answer("200 OK", body: Encoding.ASCII.GetBytes("""{"token": "the-token"}"""))
            : !request.Contains("Authorization: Bearer the-token", StringComparison.Ordinal) ? FakeRegistry.Answer("401 Unauthorized", $"WWW-Authenticate: Bearer realm=\"http://{registry.Host}/token\",service=\"the registry\",scope=\"repository:app:pull\"\r\n")
            : path.Contains("/blobs/", StringComparison.Ordinal) ? FakeRegistry.Answer("307 Temporary Redirect", $"Location: http://{elsewhere.Host}{path}\r\n")
            : null;
        elsewhere.Push("app", "latest", RootfsBuildTests.Run, Layer(RootfsBuildTests.App));
        using var tree = Project(registry, "app");

        await RootfsBuildTests.BuildAsync(tree);

        Assert.Contains(registry.Requests, request => request.StartsWith("GET /token?service=the%20registry&scope=repository%3Aapp%3Apull ", StringComparison.Ordinal));
        Assert.Single(registry.Requests, request => request.StartsWith("GET /token", StringComparison.Ordinal));
        Assert.NotEmpty(elsewhere.Requests);
        Assert.DoesNotContain(elsewhere.Requests, request => request.Contains("the-token", StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_download_goes_on_where_it_broke_off()
    {
        await using var registry = new FakeRegistry();
        var content = new byte[500_000];
        new Random(3).NextBytes(content);
        var layer = Layer(RootfsBuildTests.App, (Regular("big", string.Empty).Entry, content));
        registry.Push("app", "latest", RootfsBuildTests.Run, layer);
        var blob = Gzip(layer);
        registry.Intercept = Breaking(blob, 3);
        using var tree = Project(registry, "app");

        var image = await RootfsBuildTests.BuildAsync(tree);

        Assert.Equal(content, await image.ReadAsync("/big"));
        var ranges = registry.Requests.Where(request => request.Contains(Digest(blob), StringComparison.Ordinal)).Select(request => request.Split("\r\n").FirstOrDefault(line => line.StartsWith("Range:", StringComparison.Ordinal))).ToArray();
        Assert.Equal([null, "Range: bytes=100000-", "Range: bytes=200000-", "Range: bytes=300000-"], ranges);
    }

    [Fact]
    public async Task What_was_fetched_before_a_failure_is_kept_for_the_next_time()
    {
        await using var registry = new FakeRegistry();
        var content = new byte[500_000];
        new Random(4).NextBytes(content);
        var layer = Layer(RootfsBuildTests.App, (Regular("big", string.Empty).Entry, content));
        registry.Push("app", "latest", RootfsBuildTests.Run, layer);
        var blob = Gzip(layer);
        registry.Intercept = (path, request) => !path.EndsWith(Digest(blob), StringComparison.Ordinal) ? null
            : request.Contains("Range:", StringComparison.Ordinal) ? FakeRegistry.Answer("404 Not Found") : FakeRegistry.Answer("200 OK", body: blob[..200_000], length: blob.Length);
        using var tree = Project(registry, "app");
        var failed = await FledgeRun.RunAsync(tree, "build", tree["project"], "--output", tree["out/x"]);
        Assert.Equal(1, failed.ExitCode);
        Assert.Empty(tree.Names("out"));
        registry.Intercept = (_, _) => null;

        var image = await RootfsBuildTests.BuildAsync(tree);

        Assert.Equal(content, await image.ReadAsync("/big"));
        Assert.Contains(registry.Requests, request => request.Contains("Range: bytes=200000-", StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_damaged_cache_is_fetched_again()
    {
        await using var registry = new FakeRegistry();
        registry.Push("app", "latest", RootfsBuildTests.Run, Layer(RootfsBuildTests.App));
        using var tree = Project(registry, "app");
        await RootfsBuildTests.BuildAsync(tree);
        foreach (var name in tree.Names("cache/oci"))
        {
            tree.Write($"cache/oci/{name}", "damaged");
        }

        await RootfsBuildTests.BuildAsync(tree);
    }

    [Theory]
    [InlineData("wrong content", "sent sha256:")]
    [InlineData("endless", "sends more than the")]
    [InlineData("html", "sent sha256:")]
    [InlineData("not there", "The registry has no blobs/sha256:")]
    [InlineData("refused", "refuses")]
    [InlineData("no token service", "names no token service that may be asked")]
    [InlineData("manifest html", "is not what it must be")]
    [InlineData("manifest endless", "has more than 4194304 bytes")]
    [InlineData("manifest of another", "answers sha256:")]
    public async Task A_registry_that_misbehaves_is_refused_and_leaves_nothing(string how, string expected)
    {
        await using var registry = new FakeRegistry();
        var layer = Layer(RootfsBuildTests.App);
        var digest = registry.Push("app", "latest", RootfsBuildTests.Run, layer);
        var blob = Digest(Gzip(layer));
        registry.Intercept = (path, _) => (how, path.EndsWith(blob, StringComparison.Ordinal), path.Contains("/manifests/", StringComparison.Ordinal)) switch
        {
            ("wrong content", true, _) => FakeRegistry.Answer("200 OK", body: [.. Gzip(layer)[..^1], 99]),
            ("endless", true, _) => FakeRegistry.Answer("200 OK", body: new byte[1 << 20]),
            ("html", true, _) => FakeRegistry.Answer("200 OK", "Content-Type: text/html\r\n", Encoding.ASCII.GetBytes("<html>".PadRight(Gzip(layer).Length))),
            ("not there", true, _) => FakeRegistry.Answer("404 Not Found"),
            ("refused", _, true) => FakeRegistry.Answer("403 Forbidden"),
            ("no token service", _, true) => FakeRegistry.Answer("401 Unauthorized", "WWW-Authenticate: Bearer realm=\"ftp://x/\"\r\n"),
            ("manifest html", _, true) => FakeRegistry.Answer("200 OK", body: "<html></html>"u8.ToArray()),
            ("manifest endless", _, true) => FakeRegistry.Answer("200 OK", body: new byte[5 << 20]),
            ("manifest of another", _, true) => FakeRegistry.Answer("200 OK", body: "{}"u8.ToArray()),
            _ => null,
        };
        using var tree = Project(registry, how == "manifest of another" ? $"app@{digest}" : "app");

        var run = await FledgeRun.RunAsync(tree, "build", tree["project"], "--output", tree["out/x"]);

        Assert.Equal(1, run.ExitCode);
        Assert.Contains(expected, run.Error, StringComparison.Ordinal);
        Assert.Empty(tree.Names("out"));
        Assert.DoesNotContain(tree.Names(Directory.Exists(tree["cache/oci"]) ? "cache/oci" : "out"), name => name == blob[7..]);
    }

    [Theory]
    [InlineData("localhost:5000", true)]
    [InlineData("127.0.0.1", true)]
    [InlineData("[::1]:5000", true)]
    [InlineData("127.0.0.1.example.org", false)]
    [InlineData("localhost.example.org:80", false)]
    [InlineData("10.0.0.1:5000", false)]
    public void Only_loopback_is_spoken_to_without_encryption(string host, bool expected) => Assert.Equal(expected, RegistryClient.IsLoopback(host));

    [Theory]
    [InlineData("alpine", "alpine:latest", "alpine")]
    [InlineData("team/app:1.2", "team/app:1.2", "app")]
    [InlineData("docker://registry.example:5000/a/b/c", "registry.example:5000/a/b/c:latest", "c")]
    [InlineData("localhost/x", "localhost/x:latest", "x")]
    public void A_name_is_read_as_every_tool_does(string text, string expected, string name)
    {
        var reference = ImageReference.Parse(text, "/");

        Assert.Equal((expected, name), (reference.Text, reference.ShortName));
    }

    private static async Task<int> ManifestSizeAsync(FakeRegistry registry, string digest)
    {
        using var client = new HttpClient();
        return (await client.GetByteArrayAsync(new Uri($"http://{registry.Host}/v2/app/manifests/{digest}"), TestContext.Current.CancellationToken)).Length;
    }

    /// <summary>Gives the first requests for a blob 100,000 bytes each, and breaks the connection.</summary>
    private static Func<string, string, byte[]?> Breaking(byte[] blob, int times) => (path, request) =>
    {
        if (!path.EndsWith(Digest(blob), StringComparison.Ordinal) || times-- <= 0)
        {
            return null;
        }

        var from = request.Contains("Range:", StringComparison.Ordinal) ? int.Parse(request.Split("bytes=")[1].Split('-')[0], System.Globalization.CultureInfo.InvariantCulture) : 0;
        return from == 0
            ? FakeRegistry.Answer("200 OK", body: blob[..100_000], length: blob.Length)
            : FakeRegistry.Answer("206 Partial Content", $"Content-Range: bytes {from}-{blob.Length - 1}/{blob.Length}\r\n", blob[from..(from + 100_000)], length: blob.Length - from);
    };

    private static TempTree Project(FakeRegistry registry, string image)
    {
        Ext4Image.RequireTools();
        return FledgeRun.Project(RootfsBuildTests.Config.Replace("oci:image", $"{registry.Host}/{image}", StringComparison.Ordinal));
    }
}
