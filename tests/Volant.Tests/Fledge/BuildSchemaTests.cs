using System.Text.Json.Nodes;
using NJsonSchema;
using Volant.Fledge;
using Volant.Fledge.Configuration;
using Volant.Fledge.Toml;

namespace Volant.Tests.Fledge;

/// <summary>The published schema of fledge.toml against the reader.</summary>
public sealed class BuildSchemaTests
{
    private const string Sum = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    private const string Initramfs = "version = \"1\"\nstrategy = \"initramfs\"\n";
    private const string Rootfs = "version = \"1\"\nstrategy = \"oci_rootfs\"\n";

    public static TheoryData<string, bool> Files => new()
    {
        { Initramfs, true },
        { Initramfs + "[init]\nnone = true\n", true },
        { Initramfs + "[agent]\nsource_strategy = \"local\"\npath = \"k\"\n[mappings]\n\"a\" = \"/b\"\n", true },
        { Initramfs + $"[agent]\nsource_strategy = \"http\"\nurl = \"https://e/k\"\nchecksum = \"{Sum}\"\n", true },
        { Initramfs + $"[source]\nbusybox_url = \"https://e/k\"\nbusybox_sha256 = \"{Sum}\"\n", true },
        { Initramfs + "[source]\ndockerfile = \"d\"\nbuild_args = {A = \"b\"}\n", true },
        { Rootfs + "[source]\nimage = \"alpine\"\n[filesystem]\ntype = \"xfs\"\nsize_buffer_mb = 0\npreallocate = true\n", true },
        { Rootfs + "[source]\ndockerfile = \"d\"\ncontext = \".\"\ntarget = \"t\"\n[filesystem]\ntype = \"squashfs\"\ncompression_level = 22\noverlay_size = \"1G\"\n", true },
        { "strategy = \"initramfs\"\n", false },
        { "version = \"1\"\nstrategy = \"tar\"\n", false },
        { "version = \"2\"\nstrategy = \"initramfs\"\n", false },
        { Initramfs + "colour = 1\n", false },
        { Initramfs + "[filesystem]\ntype = \"ext4\"\n", false },
        { Initramfs + "[init]\nnone = \"yes\"\n", false },
        { Initramfs + "[agent]\npath = \"k\"\n", false },
        { Initramfs + "[agent]\nsource_strategy = \"magic\"\n", false },
        { Initramfs + "[mappings]\n\"a\" = \"b\"\n", false },
        { Initramfs + "[mappings]\n\"a\" = 1\n", false },
        { Initramfs + "[source]\nbusybox_sha256 = \"12\"\n", false },
        { Rootfs + "[filesystem]\n", false },
        { Rootfs + "[source]\nimage = \"a\"\n", false },
        { Rootfs + "[source]\nimage = \"a\"\ndockerfile = \"b\"\n[filesystem]\n", false },
        { Rootfs + "[source]\nimage = \"a\"\n[init]\nnone = true\n[filesystem]\n", false },
        { Rootfs + "[source]\nimage = \"a\"\n[filesystem]\ntype = \"fat\"\n", false },
        { Rootfs + "[source]\nimage = \"a\"\n[filesystem]\nsize_buffer_mb = -1\n", false },
        { Rootfs + "[source]\nimage = \"a\"\n[filesystem]\ntype = \"squashfs\"\ncompression_level = 0\n", false },
    };

    [Fact]
    public async Task The_committed_schema_is_what_the_code_says()
    {
        var committed = JsonNode.Parse(await Repository.ReadAsync("docs/schemas/fledge-v1.json"));

        Assert.True(JsonNode.DeepEquals(committed, BuildSchema.Build()), "docs/schemas/fledge-v1.json is out of date: run scripts/openapi.sh and commit the result");
    }

    [Theory]
    [MemberData(nameof(Files))]
    public async Task Schema_and_reader_agree(string text, bool expected)
    {
        var schema = await JsonSchema.FromJsonAsync(BuildSchema.Build().ToJsonString(), TestContext.Current.CancellationToken);
        using var tree = FledgeRun.Project(text);

        var allowed = schema.Validate(Json(TomlDocument.Parse(text, "x"))!.ToJsonString()).Count == 0;
        var read = Record.Exception(() => BuildConfigReader.Read(tree["project/fledge.toml"])) is null;

        Assert.Equal((expected, expected), (allowed, read));
    }

    private static JsonNode? Json(TomlNode node) => node.Value switch
    {
        string text => JsonValue.Create(text),
        long number => JsonValue.Create(number),
        bool flag => JsonValue.Create(flag),
        List<TomlNode> array => new JsonArray([.. array.Select(Json)]),
        OrderedDictionary<string, TomlNode> table => new JsonObject(table.Select(pair => KeyValuePair.Create(pair.Key, Json(pair.Value)))),
        _ => throw new FledgeException("a kind that no schema knows"),
    };
}
