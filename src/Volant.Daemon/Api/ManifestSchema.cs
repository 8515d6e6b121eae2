using System.Globalization;
using System.Text.Json.Nodes;
using Microsoft.OpenApi;
using Volant.Contracts.Manifests;

namespace Volant.Daemon.Api;

/// <summary>Puts the rules of <see cref="ManifestRules"/> into the manifest's schema, as far as JSON Schema (2020-12) can say them.</summary>
/// <remarks>The same schema is in the API document and published for editors as <c>docs/schemas/plugin-manifest-v1.json</c>; tests hold both against the rules.</remarks>
internal static class ManifestSchema
{
    private const string Media = "^(https?://.+|volant://sha256/[0-9a-fA-F]{64}|file:///.*|/.*)$";
    private const string Checksum = "^(sha256:)?[0-9a-fA-F]{64}$";
    private const string DiskName = "^(?!(root|cidata)$)[a-z0-9]([a-z0-9-]{0,18}[a-z0-9])?$";
    private const string HttpPath = "^/([^/\\u0000-\\u0020][^\\u0000-\\u0020]*)?$";

    /// <summary>Completes the schemas of the manifest and its parts.</summary>
    public static void Complete(OpenApiDocument document)
    {
        if (document.Components?.Schemas is not { } schemas || !schemas.ContainsKey("PluginManifest"))
        {
            return;
        }

        CompleteManifest(name => (OpenApiSchema)schemas[name]);
        CompleteParts(name => (OpenApiSchema)schemas[name]);
    }

    private static void CompleteManifest(Func<string, OpenApiSchema> find)
    {
        var manifest = find("PluginManifest");
        Require(manifest, "schema_version", "name", "version", "resources", "workload");
        manifest.Properties!["resources"] = new OpenApiSchema { AllOf = [manifest.Properties["resources"], Has(JsonSchemaType.Integer, "cpu_cores", "memory_mb")] };
        manifest.AnyOf = [Has(JsonSchemaType.Object, "initramfs"), Has(JsonSchemaType.Object, "rootfs")];
        Words(manifest, "schema_version", "1.0", "v1");
        Pattern(manifest, "name", "^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$", "1 to 63 lower-case letters, digits, '-', '_' or '.', starting and ending with a letter or digit.");
        Member(manifest, "version").MaxLength = 128;
        Pattern(manifest, "runtime", "^[^\\s\"]{1,128}$");
        Member(manifest, "actions").MaxProperties = 256;
        var workload = find("Workload");
        Require(workload, "type", "entrypoint");
        workload.AnyOf =
        [
            Has(JsonSchemaType.String, "base_url"),
            new OpenApiSchema { Properties = new Dictionary<string, IOpenApiSchema>(StringComparer.Ordinal) { ["type"] = new OpenApiSchema { Enum = [JsonValue.Create(WorkloadTypes.Process)] } } },
        ];
        Words(workload, "type", WorkloadTypes.Http, WorkloadTypes.Process);
        Pattern(workload, "base_url", "^http://[0-9.:a-fA-F\\[\\]]+(/.*)?$");
        Pattern(workload, "workdir", "^/");
        (Member(workload, "entrypoint").MinItems, Member(workload, "entrypoint").MaxItems) = (1, 256);
    }

    private static void CompleteParts(Func<string, OpenApiSchema> find)
    {
        var resources = find("ManifestResources");
        Range(resources, "cpu_cores", 1, ManifestRules.MaxCpuCores, "Virtual CPUs.");
        Range(resources, "memory_mb", 1, ManifestRules.MaxMemoryMib, "Memory in MiB.");
        foreach (var name in new[] { "BootMedia", "RootfsMedia" })
        {
            var media = find(name);
            Require(media, "url");
            Pattern(media, "url", Media);
            Pattern(media, "checksum", Checksum);
        }

        Words(find("RootfsMedia"), "format", "raw", "qcow2");
        var disk = find("ManifestDisk");
        Require(disk, "name", "source");
        Pattern(disk, "name", DiskName, "Name of the disk, unique in the manifest, and its serial number in the guest.");
        Pattern(disk, "target", "^vd[a-z]$");
        Pattern(disk, "source", Media);
        Pattern(disk, "checksum", Checksum);
        Words(disk, "format", "raw", "qcow2");
        var seed = find("CloudInit");
        Words(seed, "datasource", CloudInitRules.NoCloud);
        Words(seed, "seed_mode", CloudInitRules.Vfat);
        var document = find("CloudInitDocument");
        document.OneOf = [Has(JsonSchemaType.String, "content"), Has(JsonSchemaType.String, "path")];
        Words(document, "encoding", CloudInitDocument.Text, CloudInitDocument.Base64);
        Words(find("NetworkConfig"), "mode", [.. NetworkModes.All]);
        Member(find("NetworkConfig"), "mode").Description = "\"vsock\" (no Ethernet), \"bridged\" (default) or \"dhcp\".";
        var devices = find("DeviceConfig");
        Items(devices, "pci_passthrough", DeviceRules.AddressPattern, DeviceRules.MaxDevices);
        Member(devices, "pci_passthrough").UniqueItems = true;
        Items(devices, "allowlist", DeviceRules.IdPattern, DeviceRules.MaxPatterns);
        var action = find("ManifestAction");
        Require(action, "method", "path");
        Words(action, "method", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS");
        Pattern(action, "path", HttpPath);
        Range(action, "timeout_ms", 1, 3_600_000);
        var check = find("HealthCheck");
        check.OneOf = [Has(JsonSchemaType.String, "endpoint"), Has(JsonSchemaType.Integer, "port"), Has(JsonSchemaType.Array, "command")];
        Pattern(check, "endpoint", HttpPath);
        Range(check, "port", 1, ushort.MaxValue);
        (Member(check, "command").MinItems, Member(check, "command").MaxItems) = (1, 256);
        Range(check, "timeout_ms", 1, 60_000);
    }

    /// <summary>The manifest's schema by itself, out of the API document.</summary>
    /// <param name="document">The document as JSON.</param>
    public static JsonObject Extract(JsonNode document)
    {
        const string prefix = "#/components/schemas/";
        var all = document["components"]!["schemas"]!.AsObject();
        var definitions = new SortedDictionary<string, JsonNode>(StringComparer.Ordinal);
        var root = Take("PluginManifest");
        var schema = new JsonObject
        {
            ["$schema"] = "https://json-schema.org/draft/2020-12/schema",
            ["$id"] = "urn:volant:plugin-manifest:v1",
            ["title"] = "Volant plugin manifest, version 1",
        };
        foreach (var (name, value) in root.AsObject())
        {
            schema[name] = value?.DeepClone();
        }

        schema["$defs"] = new JsonObject(definitions.Select(definition => KeyValuePair.Create(definition.Key, (JsonNode?)definition.Value)));
        return schema;

        JsonNode Take(string name)
        {
            var copy = all[name]!.DeepClone();
            Rewrite(copy);
            return copy;
        }

        void Rewrite(JsonNode? node)
        {
            if (node is JsonObject members)
            {
                if (members["$ref"] is JsonValue reference)
                {
                    var name = reference.GetValue<string>()[prefix.Length..];
                    members["$ref"] = $"#/$defs/{name}";
                    if (!definitions.ContainsKey(name))
                    {
                        definitions[name] = new JsonObject();
                        definitions[name] = Take(name);
                    }
                }

                foreach (var (_, value) in members.ToList())
                {
                    Rewrite(value);
                }
            }
            else if (node is JsonArray items)
            {
                foreach (var item in items)
                {
                    Rewrite(item);
                }
            }
        }
    }

    private static OpenApiSchema Member(OpenApiSchema schema, string name) => (OpenApiSchema)schema.Properties![name];

    /// <summary>Demands members, and that they are not null.</summary>
    private static void Require(OpenApiSchema schema, params string[] names)
    {
        schema.Required = names.ToHashSet(StringComparer.Ordinal);
        foreach (var name in names)
        {
            if (schema.Properties![name] is OpenApiSchema { OneOf: [_, var only] })
            {
                schema.Properties[name] = only;
            }
            else
            {
                Member(schema, name).Type &= ~JsonSchemaType.Null;
            }
        }
    }

    private static OpenApiSchema Has(JsonSchemaType type, params string[] names) => new()
    {
        Required = names.ToHashSet(StringComparer.Ordinal),
        Properties = names.ToDictionary(name => name, IOpenApiSchema (_) => new OpenApiSchema { Type = type }, StringComparer.Ordinal),
    };

    private static void Words(OpenApiSchema schema, string name, params string[] words)
    {
        var member = Member(schema, name);
        member.Enum = [.. words.Select(word => (JsonNode)JsonValue.Create(word))];
        if (member.Type?.HasFlag(JsonSchemaType.Null) == true)
        {
            member.Enum.Add(JsonNullSentinel.JsonNull);
        }
    }

    private static void Pattern(OpenApiSchema schema, string name, string pattern, string? description = null)
    {
        var member = Member(schema, name);
        member.Pattern = pattern;
        member.Description = description ?? member.Description;
    }

    private static void Items(OpenApiSchema schema, string name, string pattern, int most)
    {
        var member = Member(schema, name);
        member.MaxItems = most;
        member.Items = new OpenApiSchema { Type = JsonSchemaType.String, Pattern = pattern };
    }

    private static void Range(OpenApiSchema schema, string name, int least, int most, string? description = null)
    {
        var member = Member(schema, name);
        member.Minimum = least.ToString(CultureInfo.InvariantCulture);
        member.Maximum = most.ToString(CultureInfo.InvariantCulture);
        member.Description = description ?? member.Description;
    }
}
