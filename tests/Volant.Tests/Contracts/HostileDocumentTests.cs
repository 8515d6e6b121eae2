using System.Buffers.Text;
using System.Globalization;
using System.IO.Compression;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using CsCheck;
using Volant.Contracts;
using Volant.Contracts.Api;
using Volant.Contracts.Boot;
using Volant.Contracts.Manifests;
using Volant.Daemon;
using Volant.Daemon.Orchestration;

namespace Volant.Tests.Contracts;

/// <summary>Damaged and hostile documents: one kind of exception, bounded cost, nothing dropped in silence (T05).</summary>
public sealed class HostileDocumentTests
{
    private const string Manifest = """
        {"$schema": "x", "schema_version": "1.0", "name": "hello", "version": "1", "runtime": "hello", "enabled": true, "image": "i", "image_digest": "d",
         "resources": {"cpu_cores": 1, "memory_mb": 256},
         "workload": {"type": "http", "entrypoint": ["/bin/x", "y"], "base_url": "http://127.0.0.1:8080", "env": {"A": "b c\"\n"}, "workdir": "/srv"},
         "initramfs": {"url": "/i", "checksum": "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"},
         "rootfs": {"url": "https://h/x.qcow2", "format": "qcow2"}, "openapi": "/openapi.json", "labels": {"a": "b"},
         "disks": [{"name": "data", "source": "file:///d", "format": "raw", "readonly": true}],
         "cloud_init": {"datasource": "NoCloud", "seed_mode": "vfat", "user_data": {"inline": true, "content": "#cloud-config"}, "meta_data": {"path": "/m"}},
         "network": {"mode": "bridged", "subnet": "10.0.0.0/24", "gateway": "10.0.0.1", "auto_assign": true},
         "devices": {"pci_passthrough": ["0000:01:00.0"], "allowlist": ["10de:*"]},
         "actions": {"go": {"description": "d", "method": "POST", "path": "/go?x=1", "timeout_ms": 1000}},
         "health_check": {"endpoint": "/healthz", "timeout_ms": 1000}}
        """;

    private const string Config = """
        {"plugin": "hello", "runtime": "r", "kernel_cmdline": "a=\"b c\" d", "resources": {"cpu_cores": 2, "memory_mb": 512}, "api": {"host": "::1", "port": 8080},
         "metadata": {"x": [1, {"y": null}]}, "network": {"mode": " VSOCK "}, "initramfs": {"url": "volant://sha256/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"},
         "restart": {"policy": "always", "max_attempts": 3, "backoff_ms": 100, "stable_after_ms": 5000}}
        """;

    private static readonly byte[] ManifestBytes = Encoding.UTF8.GetBytes(Manifest);
    private static readonly byte[] ConfigBytes = Encoding.UTF8.GetBytes(Config);
    private static readonly PluginManifest Installed = ManifestReader.Read(ManifestBytes);
    private static readonly PluginManifest Startable = Installed with { Rootfs = null, Disks = null, CloudInit = null, Devices = null };
    private static readonly byte[] Encoded = Encoding.ASCII.GetBytes(ManifestCodec.Encode(Installed));

    // Below these the names are the author's own.
    private static readonly string[] Free = ["env", "labels", "actions", "metadata"];

    [Fact]
    public void A_damaged_manifest_is_refused_with_paths_or_means_the_same_after_a_round_trip() => Gen.Int.Sample(
        seed => Mutation.Bounded(() => ReadManifest(Mutation.Mutate(ManifestBytes, seed))), iter: Soak.Times(15_000, 1_000_000));

    [Fact]
    public void A_damaged_configuration_is_refused_with_paths_or_makes_a_plan() => Gen.Int.Sample(
        seed => Mutation.Bounded(() => ReadConfig(Mutation.Mutate(ConfigBytes, seed))), iter: Soak.Times(15_000, 1_000_000));

    [Fact]
    public void A_damaged_manifest_of_a_command_line_is_refused_with_one_kind_of_exception() => Gen.Int.Sample(
        seed => Mutation.Bounded(() => Decode(Encoding.Latin1.GetString(Mutation.Mutate(Encoded, seed)))), iter: Soak.Times(15_000, 1_000_000));

    [Fact]
    public void A_manifest_that_is_damaged_before_it_is_packed_is_refused_alike() => Gen.Int.Sample(
        seed =>
        {
            using var packed = new MemoryStream();
            using (var gzip = new GZipStream(packed, CompressionLevel.Fastest, leaveOpen: true))
            {
                gzip.Write(Mutation.Mutate(ManifestBytes, seed));
            }

            var text = Base64Url.EncodeToString(packed.ToArray());
            Mutation.Bounded(() => Decode(text));
        },
        iter: Soak.Times(3_000, 200_000));

    [Theory]
    [InlineData("[", 100_000)]
    [InlineData("{\"labels\":", 100_000)]
    [InlineData("{\"workload\":{\"env\":", 50_000)]
    public void Nesting_of_any_depth_costs_nothing(string opening, int depth)
    {
        var bytes = Encoding.UTF8.GetBytes(string.Concat(Enumerable.Repeat(opening, depth)));

        Mutation.Bounded(() =>
        {
            Assert.Throws<InvalidDocumentException>(() => ManifestReader.Read(bytes));
            Assert.Throws<JsonException>(() => JsonSerializer.Deserialize(bytes, ContractsJson.Strict.VmConfig));
        });
    }

    [Fact]
    public void A_member_that_nobody_knows_is_refused_wherever_it_stands()
    {
        var places = 0;
        foreach (var (document, read) in Documents())
        {
            foreach (var path in Objects(JsonNode.Parse(document)!, []).Where(path => path is [] || !Free.Contains(path[^1], StringComparer.Ordinal)).Where(IsStrict))
            {
                var changed = JsonNode.Parse(document)!;
                Follow(changed, path).AsObject()["zz"] = 1;
                Assert.Contains("zz", Assert.ThrowsAny<Exception>(() => read(Encoding.UTF8.GetBytes(changed.ToJsonString()))).Message, StringComparison.Ordinal);
                places++;
            }
        }

        Assert.True(places > 20, $"only {places} objects");
    }

    [Fact]
    public void A_member_that_stands_twice_is_refused_wherever_it_stands()
    {
        foreach (var (document, read) in Documents())
        {
            foreach (var path in Objects(JsonNode.Parse(document)!, []).Where(IsStrict))
            {
                var changed = JsonNode.Parse(document)!;
                var target = Follow(changed, path).AsObject();
                var (key, value) = target.First();
                target["zzzz"] = value?.DeepClone();
                var twice = changed.ToJsonString().Replace("\"zzzz\"", JsonSerializer.Serialize(key), StringComparison.Ordinal);
                Assert.ThrowsAny<Exception>(() => read(Encoding.UTF8.GetBytes(twice)));
            }
        }
    }

    [Theory]
    [InlineData("actions", """{"go": {"method": "GET", "path": "/a"}, " go ": {"method": "GET", "path": "/b"}}""")]
    [InlineData("labels", """{"a": "1", "a ": "2"}""")]
    public void Names_that_differ_only_by_spaces_are_refused_and_none_is_dropped(string member, string value)
    {
        var document = JsonNode.Parse(Manifest)!;
        document[member] = JsonNode.Parse(value);

        var failure = Assert.Throws<InvalidDocumentException>(() => ManifestReader.Read(Encoding.UTF8.GetBytes(document.ToJsonString())));

        Assert.StartsWith(member, Assert.Single(failure.Errors).Path, StringComparison.Ordinal);
    }

    private static IEnumerable<(string Document, Action<byte[]> Read)> Documents() =>
    [
        (Manifest, static bytes => ManifestReader.Read(bytes)),
        (Config, static bytes => JsonSerializer.Deserialize(bytes, ContractsJson.Strict.VmConfig)),
        ($$"""{"name": "a", "plugin": "p", "config": {{Config}}}""", static bytes => JsonSerializer.Deserialize(bytes, ContractsJson.Strict.CreateVmRequest)),
    ];

    private static void ReadManifest(byte[] json)
    {
        try
        {
            AssertRoundTrip(ManifestReader.Read(json));
        }
        catch (InvalidDocumentException e)
        {
            Assert.NotEmpty(e.Errors);
        }
    }

    private static void Decode(string text)
    {
        try
        {
            AssertRoundTrip(ManifestCodec.Decode(text));
        }
        catch (FormatException)
        {
            // The one that is declared.
        }
    }

    private static void AssertRoundTrip(PluginManifest manifest)
    {
        var json = ManifestCodec.ToJson(manifest);

        Assert.Equal(json, ManifestCodec.ToJson(ManifestRules.Normalise(manifest)));
        Assert.Equal(json, ManifestCodec.ToJson(ManifestCodec.Decode(ManifestCodec.Encode(manifest))));
    }

    private static void ReadConfig(byte[] json)
    {
        try
        {
            if (JsonSerializer.Deserialize(json, ContractsJson.Strict.VmConfig) is { } config)
            {
                var stored = JsonSerializer.SerializeToUtf8Bytes(config, ContractsJson.Default.VmConfig);
                Assert.Equal(stored, JsonSerializer.SerializeToUtf8Bytes(JsonSerializer.Deserialize(stored, ContractsJson.Default.VmConfig)!, ContractsJson.Default.VmConfig));
                LaunchPlan.Resolve(LaunchPlan.Normalise(config), Startable, hostMemoryMib: 1 << 20);
            }
        }
        catch (JsonException)
        {
            // Answered with 400.
        }
        catch (VolantException e)
        {
            Assert.Contains(e.Code, (string[])[ErrorCodes.InvalidRequest, ErrorCodes.Unsupported, ErrorCodes.InsufficientCapacity]);
        }
    }

    private static bool IsStrict(string[] path) => !path.Contains("metadata", StringComparer.Ordinal);

    private static IEnumerable<string[]> Objects(JsonNode node, string[] prefix) => node switch
    {
        JsonArray list => list.SelectMany((value, i) => value is null ? [] : Objects(value, [.. prefix, i.ToString(CultureInfo.InvariantCulture)])),
        JsonObject map => map.SelectMany(member => member.Value is null ? [] : Objects(member.Value, [.. prefix, member.Key])).Prepend(prefix),
        _ => [],
    };

    private static JsonNode Follow(JsonNode root, string[] path) =>
        path.Aggregate(root, (node, key) => node is JsonArray list ? list[int.Parse(key, CultureInfo.InvariantCulture)]! : node[key]!);
}
