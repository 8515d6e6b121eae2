using System.Text.Json;
using static Volant.Tests.Fledge.OciImage;

namespace Volant.Tests.Fledge;

public sealed class InspectTests
{
    [Fact]
    public async Task A_root_disk_tells_its_file_system()
    {
        using var tree = RootfsBuildTests.Project(Layer(RootfsBuildTests.App));
        await RootfsBuildTests.BuildAsync(tree);

        var found = await InspectAsync(tree, tree["out/x.img"]);

        Assert.Equal(("ext4", 4096), (found.GetProperty("kind").GetString(), found.GetProperty("filesystem").GetProperty("block_bytes").GetInt32()));
        Assert.Equal(new FileInfo(tree["out/x.img"]).Length, found.GetProperty("filesystem").GetProperty("size_bytes").GetInt64());
        Assert.InRange(found.GetProperty("filesystem").GetProperty("free_bytes").GetInt64(), 8L << 20, 10L << 20);
    }

    [Fact]
    public async Task A_manifest_is_read_by_the_rules_of_the_daemon()
    {
        using var tree = RootfsBuildTests.Project(Layer(RootfsBuildTests.App));
        await RootfsBuildTests.BuildAsync(tree);

        var found = await InspectAsync(tree, tree["out/x.manifest.json"]);
        tree.Write("bad.json", "{\"name\": \"X\"}");
        var bad = await FledgeRun.RunAsync(tree, "inspect", tree["bad.json"]);

        Assert.Equal(("manifest", "image"), (found.GetProperty("kind").GetString(), found.GetProperty("manifest").GetProperty("name").GetString()));
        Assert.Equal(1, bad.ExitCode);
        Assert.Contains("'name' must be", bad.Error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("image")]
    [InlineData("oci:image")]
    [InlineData("image.tar")]
    [InlineData("oci-archive:image.tar")]
    [InlineData("saved.tar")]
    [InlineData("docker-archive:saved.tar")]
    public async Task An_image_tells_its_digest_layers_and_how_it_runs(string what)
    {
        using var tree = new TempTree();
        var digest = WriteLayout(tree, "image", RootfsBuildTests.Run, Layer(RootfsBuildTests.App));
        await Spawned.RunAsync(tree, null, "/bin/tar", "-C", tree["image"], "-cf", tree["image.tar"], ".");
        WriteDockerArchive(tree, "saved.tar", RootfsBuildTests.Run, Layer(RootfsBuildTests.App));

        var found = await InspectAsync(tree, what.Contains(':', StringComparison.Ordinal) ? what.Replace(":", $":{tree.Root}/", StringComparison.Ordinal) : tree[what]);

        var image = found.GetProperty("image");
        Assert.Equal(("image", "/srv", "1000:1000"), (found.GetProperty("kind").GetString(), image.GetProperty("workdir").GetString(), image.GetProperty("user").GetString()));
        Assert.Equal(("[\"/usr/bin/app\"]", "[\"--serve\"]"), (JsonSerializer.Serialize(image.GetProperty("entrypoint")), JsonSerializer.Serialize(image.GetProperty("command"))));
        Assert.Single(image.GetProperty("layers").EnumerateArray());
        Assert.True(what.Contains("saved", StringComparison.Ordinal) || image.GetProperty("digest").GetString() == digest);
    }

    [Theory]
    [InlineData("mkfs.xfs", "xfs", 320)]
    [InlineData("mkfs.btrfs", "btrfs", 128)]
    [InlineData("mke2fs", "ext4", 8)]
    public async Task A_disk_of_another_maker_is_known(string program, string kind, int mib)
    {
        Assert.SkipUnless(File.Exists($"/usr/sbin/{program}"), $"{program} is not installed");
        using var tree = new TempTree();
        await using (var file = File.Create(tree["disk"]))
        {
            file.SetLength((long)mib << 20);
        }

        await Spawned.RunAsync(tree, null, kind == "ext4" ? [$"/usr/sbin/{program}", "-q", "-t", "ext4", "-L", "label", tree["disk"]] : [$"/usr/sbin/{program}", "-q", "-L", "label", tree["disk"]]);

        var found = await InspectAsync(tree, tree["disk"]);

        Assert.Equal((kind, "label", (long)mib << 20), (found.GetProperty("kind").GetString(), found.GetProperty("filesystem").GetProperty("label").GetString(), found.GetProperty("filesystem").GetProperty("size_bytes").GetInt64()));
        Assert.Contains($"kind      {kind}\n", (await FledgeRun.RunAsync(tree, "inspect", tree["disk"])).Out, StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_is_none_of_these_is_refused()
    {
        using var tree = new TempTree();
        tree.Write("noise", [.. Enumerable.Range(0, 70_000).Select(i => (byte)(i * 31))]);
        tree.Write("zstd", [0x28, 0xb5, 0x2f, 0xfd, 0, 0, 0, 0]);
        tree.Write("empty", string.Empty);

        Assert.All(await Task.WhenAll(new[] { "noise", "zstd", "empty", "absent" }.Select(name => FledgeRun.RunAsync(tree, "inspect", tree[name]))), run => Assert.Equal((1, string.Empty), (run.ExitCode, run.Out)));
    }

    private static async Task<JsonElement> InspectAsync(TempTree tree, string what)
    {
        var run = await FledgeRun.RunAsync(tree, "inspect", what, "--json");
        Assert.True(run.ExitCode == 0, run.Error);
        return JsonDocument.Parse(run.Out).RootElement;
    }
}
