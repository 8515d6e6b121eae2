using Volant.Fledge.Tar;
using static Volant.Tests.Fledge.OciImage;

namespace Volant.Tests.Fledge;

/// <summary>Root disks that other programs make.</summary>
public sealed class OtherDisksTests
{
    private static readonly byte[] Content = Layer(
        Folder("./", 0x16D, uid: 7),
        RootfsBuildTests.App,
        Folder("srv", 0x1C0, uid: 7),
        Regular("srv/one", "shared", uid: 100_000, attributes: new(StringComparer.Ordinal) { ["user.note"] = "n"u8.ToArray() }),
        Link("srv/two", "srv/one", TarKind.HardLink),
        Regular(ByteText.Encode("srv/käse und " + new string('x', 120)), "odd name"),
        Device("dev/null", TarKind.CharacterDevice, 1, 3));

    [Fact]
    public async Task Squashfs_holds_owners_links_devices_and_attributes_and_is_the_same_every_time()
    {
        using var tree = Project("squashfs", "/usr/bin/mksquashfs");
        await BuildAsync(tree);
        var first = await File.ReadAllBytesAsync(tree["out/x.img"], TestContext.Current.CancellationToken);
        File.Delete(tree["out/x.img"]);
        await BuildAsync(tree);

        Assert.Equal(first, await File.ReadAllBytesAsync(tree["out/x.img"], TestContext.Current.CancellationToken));
        var list = await Spawned.RunAsync(tree, null, "/usr/bin/unsquashfs", "-lln", tree["out/x.img"]);
        Assert.Matches(@"\ndr-xr-xr-x 7/0 +\d+ 2023-11-14 \S+ squashfs-root\n", "\n" + list);
        Assert.Matches(@"\ndrwx------ 7/0 .* squashfs-root/srv\n", list);
        Assert.Matches(@"\n-rw-r--r-- 100000/0 +6 .* squashfs-root/srv/two\n", list);
        Assert.Matches(@"\ncrw-rw-rw- 0/0 +1, +3 .* squashfs-root/dev/null\n", list);
        Assert.Contains("squashfs-root/srv/käse und xxx", list, StringComparison.Ordinal);
        Assert.Equal(["x.img", "x.manifest.json"], tree.Names("out"));
    }

    [Fact]
    public async Task Squashfs_cannot_give_its_root_to_somebody_who_has_nothing_else()
    {
        using var tree = Project("squashfs", "/usr/bin/mksquashfs", Layer(Folder("./", uid: 4242), RootfsBuildTests.App));

        var run = await FledgeRun.RunAsync(tree, "build", tree["project"], "--output", tree["out/x.img"]);

        Assert.Equal(1, run.ExitCode);
        Assert.Contains("root directory belongs to 4242, whom no file in it belongs to", run.Error, StringComparison.Ordinal);
        Assert.Empty(tree.Names("out"));
    }

    [Theory]
    [InlineData("xfs", "/usr/sbin/mkfs.xfs")]
    [InlineData("btrfs", "/usr/sbin/mkfs.btrfs")]
    public async Task A_mounted_disk_holds_owners_links_devices_and_attributes(string type, string program)
    {
        using var tree = Project(type, program);
        await RequireMountsAsync(tree);
        await BuildAsync(tree);

        await WhileMountedAsync(tree, async () =>
        {
            Assert.Equal("100000:0:644:2:6", await StatAsync("srv/two"));
            Assert.Equal("7:0:700", (await StatAsync("srv"))[..7]);
            Assert.Equal("7:0:555", (await StatAsync(string.Empty))[..7]);
            Assert.StartsWith("0:0:666:1:0", await StatAsync("dev/null"), StringComparison.Ordinal);
            Assert.Equal("odd name", await File.ReadAllTextAsync(tree["point/srv/käse und " + new string('x', 120)], TestContext.Current.CancellationToken));
            Assert.Equal(await File.ReadAllBytesAsync(tree["programs/kestrel"], TestContext.Current.CancellationToken), await File.ReadAllBytesAsync(tree["point/bin/kestrel"], TestContext.Current.CancellationToken));
        });

        Assert.Equal(["x.img", "x.manifest.json"], tree.Names("out"));

        async Task<string> StatAsync(string path) => (await Spawned.RunAsync(tree, null, "/usr/bin/stat", "-c", "%u:%g:%a:%h:%s", tree[$"point/{path}"])).Trim();
    }

    /// <summary>The kernel mounts no two file systems of one UUID.</summary>
    [Theory]
    [InlineData("xfs", "/usr/sbin/mkfs.xfs")]
    [InlineData("btrfs", "/usr/sbin/mkfs.btrfs")]
    public async Task It_is_built_again_while_the_same_disk_is_mounted(string type, string program)
    {
        using var tree = Project(type, program);
        await RequireMountsAsync(tree);
        await BuildAsync(tree);

        await WhileMountedAsync(tree, () => BuildAsync(tree));

        Assert.Equal(["x.img", "x.manifest.json"], tree.Names("out"));
    }

    /// <summary>Mounts the disk at <c>point</c> for as long as the action takes.</summary>
    private static async Task WhileMountedAsync(TempTree tree, Func<Task> action)
    {
        tree.Make("point");
        await Spawned.RunAsync(tree, null, "/bin/mount", "-o", "loop,ro", tree["out/x.img"], tree["point"]);
        try
        {
            await action();
        }
        finally
        {
            // A program that another test is just starting may have a copy of a file that was read.
            await Spawned.RunAsync(tree, null, "/bin/umount", "--lazy", tree["point"]);
        }
    }

    internal static async Task RequireMountsAsync(TempTree tree)
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "only root may mount");
        tree.Write("probe.img", new byte[1 << 20]);
        tree.Make("probe");
        await Spawned.RunAsync(tree, null, "/usr/sbin/mke2fs", "-q", tree["probe.img"]);
        try
        {
            await Spawned.RunAsync(tree, null, "/bin/mount", "-o", "loop", tree["probe.img"], tree["probe"]);
        }
        catch (Xunit.Sdk.XunitException e)
        {
            Assert.Skip($"loop mounts are not possible here: {e.Message}");
        }

        await Spawned.RunAsync(tree, null, "/bin/umount", "--lazy", tree["probe"]);
    }

    private static TempTree Project(string type, string program, byte[]? content = null)
    {
        Assert.SkipUnless(File.Exists(program), $"{program} is not installed");
        var tree = FledgeRun.Project(RootfsBuildTests.Config.Replace("ext4", type, StringComparison.Ordinal));
        WriteLayout(tree, "project/image", RootfsBuildTests.Run, content ?? Content);
        return tree;
    }

    private static async Task BuildAsync(TempTree tree)
    {
        var run = await FledgeRun.RunAsync(tree, "build", tree["project"], "--output", tree["out/x.img"]);
        Assert.True(run.ExitCode == 0, run.Error);
    }
}
