using Volant.Fledge.Output;
using static Volant.Tests.Fledge.OciImage;

namespace Volant.Tests.Fledge;

/// <summary>Builds that meet each other, run out of disk, or are interrupted.</summary>
public sealed class BuildEdgesTests
{
    [Fact]
    public async Task Two_builds_of_one_name_at_once_leave_one_whole_result()
    {
        using var tree = RootfsBuildTests.Project(Layer(RootfsBuildTests.App, Regular("big", new string('b', 3_000_000))));

        var runs = await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => Task.Run(() => FledgeRun.RunAsync(tree, "build", tree["project"], "--output", tree["out/x.img"]))));

        Assert.All(runs, run => Assert.True(run.ExitCode == 0, run.Error));
        Assert.Equal(["x.img", "x.manifest.json"], tree.Names("out"));
        var image = new Ext4Image(tree, tree["out/x.img"]);
        await image.CheckAsync();
        var sha256 = Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(await File.ReadAllBytesAsync(tree["out/x.img"], TestContext.Current.CancellationToken)));
        Assert.Contains(sha256, await File.ReadAllTextAsync(tree["out/x.manifest.json"], TestContext.Current.CancellationToken), StringComparison.Ordinal);
    }

    [Fact]
    public void Of_two_results_of_one_name_at_once_both_files_are_of_the_same()
    {
        using var tree = new TempTree();
        tree.Make("out");
        for (var round = 0; round < 50; round++)
        {
            Parallel.For(0, 4, writer =>
            {
                using PendingFile disk = PendingFile.Create(tree["out/x.img"]), manifest = PendingFile.Create(tree["out/x.manifest.json"]);
                disk.Stream.WriteByte((byte)writer);
                manifest.Stream.WriteByte((byte)writer);
                disk.CommitWith(manifest);
            });

            Assert.Equal(File.ReadAllBytes(tree["out/x.img"]), File.ReadAllBytes(tree["out/x.manifest.json"]));
        }

        Assert.Equal(["x.img", "x.manifest.json"], tree.Names("out"));
    }

    [Theory]
    [InlineData("ext4")]
    [InlineData("squashfs")]
    public async Task A_disk_that_fills_up_half_way_keeps_nothing_of_the_build_and_all_of_the_last_one(string type)
    {
        using var tree = RootfsBuildTests.Project(Layer(RootfsBuildTests.App, Regular("big", string.Concat(Enumerable.Range(0, 2_000_000).Select(i => (char)('a' + (i * 7 % 26)))))));
        await OtherDisksTests.RequireMountsAsync(tree);
        tree.Write("project/fledge.toml", RootfsBuildTests.Config.Replace("ext4", type, StringComparison.Ordinal));
        tree.Make("small");
        await Spawned.RunAsync(tree, null, "/bin/mount", "-t", "tmpfs", "-o", "size=1M", "none", tree["small"]);
        try
        {
            tree.Write("small/x.img", "the last one");

            var run = await FledgeRun.RunAsync(tree, "build", tree["project"], "--output", tree["small/x.img"]);

            Assert.Equal(1, run.ExitCode);
            Assert.Matches("(?i)no space left", run.Error);
            Assert.Equal(["x.img"], tree.Names("small"));
            Assert.Equal("the last one", await File.ReadAllTextAsync(tree["small/x.img"], TestContext.Current.CancellationToken));
        }
        finally
        {
            await Spawned.RunAsync(tree, null, "/bin/umount", "--lazy", tree["small"]);
        }
    }

    [Fact]
    public async Task What_a_killed_build_left_is_removed_by_the_next_one_unless_it_is_in_use()
    {
        using var tree = RootfsBuildTests.Project(Layer(RootfsBuildTests.App));
        var (dead, alive, young, other) = ($"out/.x.img.{new string('a', 32)}.part", $"out/.x.img.{new string('b', 32)}.part", $"out/.x.img.{new string('c', 32)}.part", "out/.x.img.mine.part");
        foreach (var path in new[] { dead, alive, young, other })
        {
            tree.Write(path, "left");
            if (path != young)
            {
                File.SetLastWriteTimeUtc(tree[path], DateTime.UnixEpoch);
            }
        }

        await using (new FileStream(tree[alive], FileMode.Open, FileAccess.ReadWrite, FileShare.None))
        {
            await RootfsBuildTests.BuildAsync(tree);
        }

        Assert.Equal(new[] { alive, young, other, "x.img", "x.manifest.json" }.Select(path => Path.GetFileName(path)).Order(StringComparer.Ordinal), tree.Names("out"));
    }

    [Fact]
    public async Task An_interrupted_build_leaves_nothing()
    {
        using var tree = RootfsBuildTests.Project(Layer(RootfsBuildTests.App));
        using var cancelled = new CancellationTokenSource();
        await cancelled.CancelAsync();

        var run = await FledgeRun.RunAsync(tree, cancelled.Token, "build", tree["project"], "--output", tree["out/"]);

        Assert.Equal(130, run.ExitCode);
        Assert.Empty(tree.Names("out"));
    }

    [Theory]
    [InlineData("x.cpio", "has the suffix of an initramfs")]
    [InlineData("x.cpio.gz", "has the suffix of an initramfs")]
    public async Task A_disk_is_no_archive(string name, string expected)
    {
        using var tree = RootfsBuildTests.Project(Layer(RootfsBuildTests.App));

        var run = await FledgeRun.RunAsync(tree, "build", tree["project"], "--output", tree[$"out/{name}"]);

        Assert.Equal(2, run.ExitCode);
        Assert.Contains(expected, run.Error, StringComparison.Ordinal);
    }
}
