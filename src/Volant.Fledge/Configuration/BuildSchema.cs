using System.Text.Json.Nodes;

namespace Volant.Fledge.Configuration;

/// <summary>The JSON Schema of <c>fledge.toml</c>, for editors.</summary>
/// <remarks>JSON Schema draft 2020-12. The reader decides; a test holds both against the same files.</remarks>
internal static class BuildSchema
{
    private const string Sha256Pattern = "^(sha256:)?[0-9a-fA-F]{64}$";
    private const string UrlPattern = "^https?://";

    /// <summary>Builds the document.</summary>
    public static JsonObject Build() => new()
    {
        ["$schema"] = "https://json-schema.org/draft/2020-12/schema",
        ["title"] = "fledge.toml",
        ["description"] = "What fledge builds: an initramfs, or a root disk from an image.",
        ["type"] = "object",
        ["additionalProperties"] = false,
        ["required"] = Words("version", "strategy"),
        ["properties"] = new JsonObject
        {
            ["version"] = OneOf("Version of the format.", "1"),
            ["strategy"] = OneOf("initramfs: a guest that runs from memory. oci_rootfs: a root disk made from an image.", BuildConfigReader.InitramfsStrategy, BuildConfigReader.RootfsStrategy),
            ["agent"] = Agent(),
            ["init"] = Table(
                "PID 1 of an initramfs; without the table it is the agent.",
                ("path", Text("A mapped guest path, or a file of the host, that becomes /init.")),
                ("none", Flag("A mapping provides /init."))),
            ["source"] = Source(),
            ["filesystem"] = Table(
                "What a root disk is made into.",
                ("type", OneOf("File system; ext4 when absent. xfs and btrfs need root.", "ext4", "xfs", "btrfs", "squashfs")),
                ("size_buffer_mb", Number($"Free space in MiB; {FilesystemChoice.DefaultBufferMib} when absent. Of no effect for squashfs.", 0, FilesystemChoice.MaxBufferMib)),
                ("preallocate", Flag("Whether the file takes its whole size on the host at once.")),
                ("compression_level", Number("squashfs: level of zstd.", 1, 22)),
                ("overlay_size", Pattern("squashfs: wanted size of the layer above it, such as 512M.", "^[1-9][0-9]{0,8}[KMGkmg]?$"))),
            ["mappings"] = new JsonObject
            {
                ["description"] = "Files and directories: path on the host, from the directory of this file on, to absolute path in the guest.",
                ["type"] = "object",
                ["additionalProperties"] = Pattern("Absolute path in the guest, without '.' and '..'.", "^/"),
            },
        },
        ["anyOf"] = new JsonArray(
            new JsonObject
            {
                ["properties"] = new JsonObject { ["strategy"] = OneOf(null, BuildConfigReader.InitramfsStrategy) },
                ["not"] = new JsonObject { ["required"] = Words("filesystem") },
            },
            new JsonObject
            {
                ["properties"] = new JsonObject { ["strategy"] = OneOf(null, BuildConfigReader.RootfsStrategy) },
                ["required"] = Words("source", "filesystem"),
                ["not"] = new JsonObject { ["required"] = Words("init") },
            }),
    };

    private static JsonObject Agent()
    {
        var table = Table(
            "The agent; the one that ships with fledge when absent.",
            ("source_strategy", OneOf("Where it comes from.", "release", "local", "http")),
            ("version", Text("release: must be that of this fledge, whose agent is taken.")),
            ("path", Text("local: a file of the host.")),
            ("url", Pattern("http: where to fetch it.", UrlPattern)),
            ("checksum", Pattern("http: its SHA-256.", Sha256Pattern)));
        table["required"] = Words("source_strategy");
        return table;
    }

    private static JsonObject Source()
    {
        var table = Table(
            "The image, and busybox.",
            ("image", Text("NAME, docker://NAME, oci:DIR, oci-archive:FILE or docker-archive:FILE.")),
            ("dockerfile", Text("A Dockerfile, built by an installed builder.")),
            ("context", Text("Directory that the Dockerfile copies from; its own when absent.")),
            ("target", Text("Stage to build; the last when absent.")),
            ("build_args", new JsonObject
            {
                ["description"] = "Values of the Dockerfile's ARGs.",
                ["type"] = "object",
                ["additionalProperties"] = new JsonObject { ["type"] = "string" },
            }),
            ("busybox", Flag("Whether an initramfs gets busybox; true when absent.")),
            ("busybox_url", Pattern("Another busybox than the host's.", UrlPattern)),
            ("busybox_sha256", Pattern("Its SHA-256.", Sha256Pattern)));
        table["not"] = new JsonObject { ["required"] = Words("image", "dockerfile") };
        return table;
    }

    private static JsonObject Table(string description, params (string Name, JsonNode Schema)[] members) => new()
    {
        ["description"] = description,
        ["type"] = "object",
        ["additionalProperties"] = false,
        ["properties"] = new JsonObject(members.Select(member => KeyValuePair.Create<string, JsonNode?>(member.Name, member.Schema))),
    };

    private static JsonObject Text(string description) => new() { ["description"] = description, ["type"] = "string" };

    private static JsonObject Flag(string description) => new() { ["description"] = description, ["type"] = "boolean" };

    private static JsonObject Pattern(string description, string pattern) => new() { ["description"] = description, ["type"] = "string", ["pattern"] = pattern };

    private static JsonObject Number(string description, int min, int max) =>
        new() { ["description"] = description, ["type"] = "integer", ["minimum"] = min, ["maximum"] = max };

    private static JsonObject OneOf(string? description, params string[] values)
    {
        var schema = new JsonObject { ["enum"] = Words(values) };
        if (description is not null)
        {
            schema.Insert(0, "description", description);
        }

        return schema;
    }

    private static JsonArray Words(params string[] words) => new([.. words.Select(word => (JsonNode?)JsonValue.Create(word))]);
}
