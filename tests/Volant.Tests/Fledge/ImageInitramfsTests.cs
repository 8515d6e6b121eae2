using System.Text;
using Volant.Contracts.Manifests;
using Volant.Fledge.Tar;
using static Volant.Tests.Fledge.OciImage;

namespace Volant.Tests.Fledge;

/// <summary>An initramfs above an image.</summary>
public sealed class ImageInitramfsTests
{
    [Fact]
    public async Task The_image_lies_below_agent_and_mappings_and_above_what_is_only_spare()
    {
        using var tree = FledgeRun.Project("[source]\nimage = \"oci:image\"\n[mappings]\n\"mapped\" = \"/etc/mapped\"\n");
        tree.Write("project/mapped", "mapped");
        WriteLayout(tree, "project/image", RootfsBuildTests.Run, Layer(
            RootfsBuildTests.App, Link("bin", "usr/bin"), Regular("etc/passwd", "of the image", uid: 5), Regular("etc/mapped", "hidden"), Regular("usr/bin/sh", "shell of the image", 0x1ED),
            Regular("one", "shared"), Link("two", "one", TarKind.HardLink), Device("dev/null", TarKind.CharacterDevice, 1, 3), Regular("init", "hidden")));

        var run = await FledgeRun.RunAsync(tree, "build", tree["project"], "--output", tree["out/x.cpio"]);

        Assert.True(run.ExitCode == 0, run.Error);
        var members = Newc.Read(await File.ReadAllBytesAsync(tree["out/x.cpio"], TestContext.Current.CancellationToken)).ToDictionary(member => member.Path, StringComparer.Ordinal);
        Assert.Equal(await File.ReadAllBytesAsync(tree["programs/kestrel"], TestContext.Current.CancellationToken), members["init"].Content);
        Assert.Equal(("/init", "of the image", "mapped", "shell of the image"), (members["usr/bin/kestrel"].Text, members["etc/passwd"].Text, members["etc/mapped"].Text, members["usr/bin/sh"].Text));
        Assert.Equal(('l', "usr/bin", 5u), (members["bin"].Kind, members["bin"].Text, members["etc/passwd"].Uid));
        Assert.Equal((string.Empty, "shared"), (Encoding.UTF8.GetString(members["one"].Content), members["two"].Text));
        Assert.True(members.ContainsKey("usr/bin/busybox"));
        Assert.Equal('d', members["proc"].Kind);
        var manifest = ManifestReader.Read(await File.ReadAllBytesAsync(tree["out/x.manifest.json"], TestContext.Current.CancellationToken));
        Assert.Equal(["/usr/bin/app", "--serve"], manifest.Workload!.Entrypoint);
        Assert.NotNull(manifest.Initramfs);
    }

    [Fact]
    public async Task The_same_image_gives_the_same_archive()
    {
        using var tree = FledgeRun.Project("[source]\nimage = \"oci:image\"\n");
        WriteLayout(tree, "project/image", "{}", Layer(RootfsBuildTests.App, Regular("z", "1"), Regular("a", "2")));
        await FledgeRun.RunAsync(tree, "build", tree["project"], "--output", tree["out/x.cpio.gz"]);
        await FledgeRun.RunAsync(tree, "build", tree["project"], "--output", tree["out/y.cpio.gz"]);

        Assert.Equal(["x.cpio.gz", "y.cpio.gz"], tree.Names("out"));
        Assert.Equal(await File.ReadAllBytesAsync(tree["out/x.cpio.gz"], TestContext.Current.CancellationToken), await File.ReadAllBytesAsync(tree["out/y.cpio.gz"], TestContext.Current.CancellationToken));
    }

    [Fact]
    public async Task An_unpacker_of_another_maker_reads_it()
    {
        Assert.SkipUnless(File.Exists("/usr/bin/cpio") || File.Exists("/bin/cpio"), "cpio is not installed");
        using var tree = FledgeRun.Project("[source]\nimage = \"oci:image\"\n");
        WriteLayout(tree, "project/image", "{}", Layer(Regular("one", "shared"), Link("two", "one", TarKind.HardLink), Link("three", "one", TarKind.HardLink)));
        await FledgeRun.RunAsync(tree, "build", tree["project"], "--output", tree["out/x.cpio"]);
        tree.Make("unpacked");

        await Spawned.RunAsync(tree, tree["out/x.cpio"], "/bin/sh", "-c", $"cd {tree["unpacked"]} && cpio -idm --quiet");

        Assert.All((string[])["one", "two", "three"], name => Assert.Equal("shared", File.ReadAllText(tree[$"unpacked/{name}"])));
    }
}
