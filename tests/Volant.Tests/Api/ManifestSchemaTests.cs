using System.Text;
using System.Text.Json.Nodes;
using NJsonSchema;
using Volant.Contracts;
using Volant.Contracts.Manifests;
using Volant.Daemon.Api;

namespace Volant.Tests.Api;

/// <summary>The published schema of manifests against the rules that an install follows.</summary>
public sealed class ManifestSchemaTests
{
    private const string Valid = """
        {"$schema": "x", "schema_version": "1.0", "name": "hello", "version": "1", "runtime": "hello", "enabled": true, "image": "i", "image_digest": "d",
         "resources": {"cpu_cores": 1, "memory_mb": 256},
         "workload": {"type": "http", "entrypoint": ["/bin/x", "y"], "base_url": "http://127.0.0.1:8080", "env": {"A": "b"}, "workdir": "/srv"},
         "initramfs": {"url": "/i", "checksum": "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"},
         "rootfs": {"url": "https://h/x.qcow2", "format": "qcow2"}, "openapi": "/openapi.json", "labels": {"a": "b"},
         "disks": [{"name": "data", "source": "file:///d", "format": "raw", "readonly": true}],
         "cloud_init": {"datasource": "NoCloud", "user_data": {"inline": true, "content": "x"}},
         "network": {"mode": "bridged", "subnet": "10.0.0.0/24", "gateway": "10.0.0.1", "auto_assign": true},
         "devices": {"pci_passthrough": ["0000:01:00.0"], "allowlist": ["10de:*"]},
         "actions": {"go": {"description": "d", "method": "POST", "path": "/go?x=1", "timeout_ms": 1000}},
         "health_check": {"endpoint": "/healthz", "timeout_ms": 1000}}
        """;

    private static readonly string[] Replacements =
        ["null", "1", "0", "-1", "300", "5000000", "true", "\"\"", "\"x\"", "\"/x\"", "\"//x\"", "\"/a b\"", "\"http\"", "\"http://1.2.3.4:5\"", "\"ftp://x\"", "\"GET\"", "\"TRACE\"", "\"raw\"", "\"vsock\"", "\"v1\"", "\"UP\"", "\"-x\"", "[]", "[\"/x\"]", "[1]", "{}"];

    [Fact]
    public async Task The_committed_schema_is_what_the_code_says()
    {
        await using var api = await ApiFixture.StartAsync();
        var document = JsonNode.Parse(await api.Client.GetStringAsync("/openapi", TestContext.Current.CancellationToken))!;
        var committed = JsonNode.Parse(await Repository.ReadAsync("docs/schemas/plugin-manifest-v1.json"));
        Assert.True(JsonNode.DeepEquals(committed, ManifestSchema.Extract(document)), "docs/schemas/plugin-manifest-v1.json is out of date: run scripts/openapi.sh and commit the result");
    }

    [Fact]
    public async Task Whatever_the_schema_allows_can_be_installed_and_whatever_it_forbids_cannot()
    {
        // The validator knows the older name of the same keyword.
        var text = (await Repository.ReadAsync("docs/schemas/plugin-manifest-v1.json")).Replace("$defs", "definitions", StringComparison.Ordinal);
        var schema = await JsonSchema.FromJsonAsync(text, TestContext.Current.CancellationToken);
        Assert.True(IsAllowed(JsonNode.Parse(Valid)), "the valid manifest");
        var faults = new List<string>();
        var (allowed, forbidden) = (0, 0);
        foreach (var path in Paths(JsonNode.Parse(Valid)!, []).ToList())
        {
            foreach (var replacement in Replacements.Append(string.Empty))
            {
                var manifest = JsonNode.Parse(Valid)!;
                Change(manifest, path, replacement);
                var expected = IsAllowed(manifest);
                var actual = IsInstallable(manifest.ToJsonString());

                if (expected != actual && !Excused(path, replacement))
                {
                    faults.Add($"{string.Join('.', path)} := {replacement}: the schema {(expected ? "allows" : "forbids")} it, installing does not agree");
                }

                (allowed, forbidden) = expected ? (allowed + 1, forbidden) : (allowed, forbidden + 1);
            }
        }

        Assert.True(faults.Count == 0, string.Join('\n', faults));
        Assert.True(allowed > 200 && forbidden > 500, $"{allowed} allowed, {forbidden} forbidden");

        bool IsAllowed(JsonNode? manifest) => schema.Validate(manifest!.ToJsonString()).Count == 0;
    }

    /// <summary>What JSON Schema cannot say, or what is normalised before the rules are asked.</summary>
    private static bool Excused(IReadOnlyList<string> path, string text) => path switch
    {
        // Addresses and subnets are parsed, not matched.
        [.., "subnet" or "gateway" or "base_url"] => true,

        // The first word is a path, the others are free: the schema's words for that are newer than the validator.
        [.., "entrypoint", "0"] => true,

        // An empty word is absent once it is trimmed; words are compared without regard to case.
        _ when text is "\"\"" => true,
        _ => false,
    };

    private static bool IsInstallable(string json)
    {
        try
        {
            ManifestReader.Read(Encoding.UTF8.GetBytes(json));
            return true;
        }
        catch (InvalidDocumentException)
        {
            return false;
        }
    }

    private static IEnumerable<string[]> Paths(JsonNode node, string[] prefix)
    {
        IEnumerable<(string Key, JsonNode? Value)> members = node switch
        {
            JsonObject map => map.Select(member => (member.Key, member.Value)),
            JsonArray list => list.Select((value, i) => (i.ToString(System.Globalization.CultureInfo.InvariantCulture), value)),
            _ => [],
        };
        foreach (var (key, value) in members)
        {
            yield return [.. prefix, key];
            foreach (var below in value is null ? [] : Paths(value, [.. prefix, key]))
            {
                yield return below;
            }
        }
    }

    /// <summary>Replaces what a path leads to, or removes it when the text is empty.</summary>
    private static void Change(JsonNode root, string[] path, string text)
    {
        var parent = path[..^1].Aggregate(root, (node, key) => node is JsonArray list ? list[int.Parse(key, System.Globalization.CultureInfo.InvariantCulture)]! : node[key]!);
        if (parent is JsonArray array)
        {
            var index = int.Parse(path[^1], System.Globalization.CultureInfo.InvariantCulture);
            if (text.Length == 0)
            {
                array.RemoveAt(index);
            }
            else
            {
                array[index] = JsonNode.Parse(text);
            }
        }
        else if (text.Length == 0)
        {
            parent.AsObject().Remove(path[^1]);
        }
        else
        {
            parent[path[^1]] = JsonNode.Parse(text);
        }
    }
}
