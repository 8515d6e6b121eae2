using System.Text;
using CsCheck;
using Volant.Fledge;
using Volant.Fledge.Configuration;
using Volant.Fledge.Manifests;
using Volant.Tests.Contracts;

namespace Volant.Tests.Fledge;

/// <summary>Damaged and hostile TOML: one kind of exception, bounded cost (T05).</summary>
public sealed class HostileTomlTests : IDisposable
{
    private const string Config = """
        version = "1"
        strategy = "initramfs"
        [agent]
        source_strategy = "http"
        url = "https://example.org/k"
        checksum = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
        [source]
        busybox_url = "https://example.org/b"
        busybox_sha256 = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
        [mappings]
        "./a/" = "/srv"

        """;

    private const string More = """
        env = { A = "1", "B.C" = "2" }
        [health_check]
        endpoint = "/healthz"
        timeout_ms = 500
        [actions.greet]
        method = "post"
        path = "/greet"
        [[disks]]
        name = "data"
        source = "/srv/data.img"
        readonly = true

        """;

    private readonly string _directory = Soak.CreateDirectory("volant-toml-");

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [Fact]
    public void A_damaged_build_file_is_refused_with_its_place_or_read() => Try(Config, file => BuildConfigReader.Read(file));

    [Fact]
    public void A_damaged_manifest_is_refused_with_its_place_or_read() => Try(BuildCommandTests.Manifest + More, file => ManifestToml.Read(file));

    [Theory]
    [InlineData("a = ", "[", 100_000)]
    [InlineData("a = ", "{ b = ", 100_000)]
    [InlineData("", "a.", 100_000)]
    [InlineData("[", "a.", 100_000)]
    public void Nesting_of_any_depth_is_refused(string head, string opening, int depth)
    {
        var file = Path.Combine(_directory, "deep.toml");
        File.WriteAllText(file, head + string.Concat(Enumerable.Repeat(opening, depth)));

        Mutation.Bounded(() => Assert.Throws<FledgeException>(() => BuildConfigReader.Read(file)), TimeSpan.FromSeconds(1));
    }

    private void Try(string document, Action<string> read)
    {
        var bytes = Encoding.UTF8.GetBytes(document);
        Gen.Int.Sample(
            seed =>
            {
                var file = Path.Combine(_directory, $"{Environment.CurrentManagedThreadId}.toml");
                File.WriteAllBytes(file, Mutation.Mutate(bytes, seed));
                Mutation.Bounded(() =>
                {
                    try
                    {
                        read(file);
                    }
                    catch (FledgeException e)
                    {
                        Assert.NotEmpty(e.Message);
                    }
                });
            },
            iter: Soak.Times(3_000, 200_000));
    }
}
