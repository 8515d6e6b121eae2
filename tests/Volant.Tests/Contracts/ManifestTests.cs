using System.Buffers.Text;
using System.IO.Compression;
using System.Text;
using System.Text.Json;
using CsCheck;
using Volant.Contracts;
using Volant.Contracts.Boot;
using Volant.Contracts.Manifests;

namespace Volant.Tests.Contracts;

public sealed class ManifestTests
{
    private const string Minimal = """
        {
          "schema_version": " V1 ", "name": "hello", "version": "1.0.0",
          "resources": { "cpu_cores": 1, "memory_mb": 256 },
          "workload": { "type": "HTTP", "entrypoint": [" /bin/hello ", "", "-v"], "base_url": "http://127.0.0.1:8080" },
          "initramfs": { "url": "/images/hello.cpio.gz", "checksum": "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" }
        }
        """;

    [Fact]
    public void Read_normalises()
    {
        var manifest = Read(Minimal);

        Assert.Equal("v1", manifest.SchemaVersion);
        Assert.Equal("hello", manifest.Runtime);
        Assert.Equal("http", manifest.Workload!.Type);
        Assert.Equal(["/bin/hello", "-v"], manifest.Workload.Entrypoint!);
        Assert.Equal(new string('a', 64), manifest.Initramfs!.Checksum);
        Assert.True(manifest.Enabled);
        Assert.Equal("hello", manifest.Labels![ManifestRules.PluginLabel]);
        Assert.Equal("hello", manifest.Labels[ManifestRules.RuntimeLabel]);
    }

    [Theory]
    [InlineData("""{"type": "process", "entrypoint": ["/bin/x"], "user": " web:33 "}""", """{"command": ["/bin/check"]}""", "")]
    [InlineData("""{"type": "process", "entrypoint": ["/bin/x"], "base_url": "http://127.0.0.1:1"}""", """{"endpoint": "/h"}""", "")]
    [InlineData("""{"type": "process", "entrypoint": ["/bin/x"]}""", """{"port": 5432}""", "")]
    [InlineData("""{"type": "process", "entrypoint": ["/bin/x"], "user": "a b"}""", """{"endpoint": "/h"}""", "health_check.endpoint workload.user")]
    [InlineData("""{"type": "http", "entrypoint": ["/bin/x"]}""", """{"port": 0, "command": ["relative"]}""", "health_check health_check.command health_check.port workload.base_url")]
    [InlineData("""{"type": "http", "entrypoint": ["/bin/x"], "base_url": "http://127.0.0.1:1"}""", "{}", "health_check")]
    public void A_workload_need_not_serve_http(string workload, string check, string faults)
    {
        var json = $$"""{"schema_version": "v1", "name": "p", "version": "1", "resources": {"cpu_cores": 1, "memory_mb": 64}, "workload": {{workload}}, "initramfs": {"url": "/i"}, "health_check": {{check}} }""";
        var found = faults.Length == 0 ? Read(json).Workload!.User ?? string.Empty : string.Join(' ', Assert.Throws<InvalidDocumentException>(() => Read(json)).Errors.Select(error => error.Path).Order(StringComparer.Ordinal));
        Assert.Contains(found, (string[])[faults, "web:33", string.Empty]);
    }

    [Fact]
    public void Normalising_twice_changes_nothing()
    {
        var once = Read(Minimal);

        Assert.Equal(ManifestCodec.ToJson(once), ManifestCodec.ToJson(ManifestRules.Normalise(once)));
    }

    [Fact]
    public void Read_reports_every_fault_at_once_with_its_path()
    {
        var failure = Assert.Throws<InvalidDocumentException>(() => Read("""
            { "schema_version": "2", "name": "Bad Name", "resources": { "cpu_cores": 0, "memory_mb": -1 },
              "workload": { "type": "http", "entrypoint": ["relative"], "base_url": "ftp://x" },
              "actions": { "go": { "method": "FROB", "path": "no-slash" } } }
            """));

        Assert.Equal(
            ["$", "actions.go.method", "actions.go.path", "name", "resources.cpu_cores", "resources.memory_mb", "runtime", "schema_version", "version", "workload.base_url", "workload.entrypoint[0]"],
            failure.Errors.Select(error => error.Path).Append("runtime").Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal));
    }

    [Theory]
    [InlineData("""{ "name": "x", "frobnicate": 1 }""", "frobnicate")]
    [InlineData("""{ "resources": { "cpus": 1 } }""", "resources.cpus")]
    [InlineData("""{ "name": "x", "name": "y" }""", "name")]
    [InlineData("""{ "resources": { "cpu_cores": "1" } }""", "resources.cpu_cores")]
    [InlineData("""[]""", "$")]
    [InlineData("""null""", "$")]
    [InlineData("""{ "name": """, "name")]
    public void Read_names_the_member_that_strict_json_refuses(string json, string path)
    {
        var failure = Assert.Throws<InvalidDocumentException>(() => Read(json));

        Assert.Equal(path, Assert.Single(failure.Errors).Path);
    }

    [Fact]
    public void Read_refuses_deep_nesting_and_more_than_256_KiB()
    {
        Assert.Throws<InvalidDocumentException>(() => Read(string.Concat(Enumerable.Repeat("[", 100_000))));
        Assert.Throws<InvalidDocumentException>(() => Read(new string(' ', ManifestReader.MaxBytes + 1)));
    }

    [Fact]
    public void The_codec_gives_back_what_it_got()
    {
        var manifest = Read(Minimal) with { Workload = Read(Minimal).Workload! with { Env = new Dictionary<string, string>(StringComparer.Ordinal) { ["A"] = "b c\"\n" } } };

        var decoded = ManifestCodec.Decode(ManifestCodec.Encode(manifest));

        Assert.Equal(ManifestCodec.ToJson(manifest), ManifestCodec.ToJson(decoded));
    }

    [Fact]
    public void The_codec_reads_plain_json_too()
    {
        var decoded = ManifestCodec.Decode(Base64Url.EncodeToString(Encoding.UTF8.GetBytes(Minimal)));

        Assert.Equal("hello", decoded.Name);
    }

    [Fact]
    public void The_codec_throws_nothing_but_FormatException_on_random_input() =>
        Gen.OneOf(Gen.String, Gen.Byte.Array[0, 200].Select(bytes => Base64Url.EncodeToString(bytes)), Gen.Byte.Array[0, 200].Select(bytes => Base64Url.EncodeToString([0x1f, 0x8b, .. bytes])))
            .Sample(text =>
            {
                try
                {
                    ManifestCodec.Decode(text);
                    return false;
                }
                catch (FormatException)
                {
                    return true;
                }
            });

    [Fact]
    public void The_codec_refuses_a_gzip_bomb_without_expanding_it()
    {
        using var bomb = new MemoryStream();
        using (var gzip = new GZipStream(bomb, CompressionLevel.SmallestSize, leaveOpen: true))
        {
            for (var i = 0; i < 64; i++)
            {
                gzip.Write(new byte[1 << 20]);
            }
        }

        var failure = Assert.Throws<FormatException>(() => ManifestCodec.Decode(Base64Url.EncodeToString(bomb.ToArray())));

        Assert.Contains("expands", failure.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("https://example.org/a", MediaScheme.Http, "https://example.org/a")]
    [InlineData("file:///images/a", MediaScheme.File, "/images/a")]
    [InlineData("/images/a", MediaScheme.File, "/images/a")]
    public void A_media_reference_is_recognised(string text, MediaScheme scheme, string value)
    {
        Assert.True(MediaReference.TryParse(text, out var reference));
        Assert.Equal(new MediaReference(scheme, value), reference);
    }

    [Theory]
    [InlineData("")]
    [InlineData("relative/path")]
    [InlineData("ftp://example.org/a")]
    [InlineData("http://user:password@example.org/a")]
    [InlineData("file://host/share")]
    [InlineData("volant://sha256/abc")]
    [InlineData("/images/a\nb")]
    public void A_media_reference_that_is_none_is_refused(string text) => Assert.False(MediaReference.TryParse(text, out _));

    [Fact]
    public void The_wire_form_is_snake_case_and_leaves_out_what_is_absent()
    {
        using var json = JsonDocument.Parse(ManifestCodec.ToJson(Read(Minimal)));

        Assert.Equal("v1", json.RootElement.GetProperty("schema_version").GetString());
        Assert.False(json.RootElement.TryGetProperty("health_check", out _));
    }

    private static PluginManifest Read(string json) => ManifestReader.Read(Encoding.UTF8.GetBytes(json));
}
