using Volant.Fledge.Tar;
using static Volant.Tests.Fledge.OciImage;

namespace Volant.Tests.Fledge;

/// <summary>The disk that fledge writes, beside the one that <c>umoci unpack</c> and <c>mke2fs -d</c> make of the same image.</summary>
public sealed class SameDiskTests
{
    private const string List = """
        cd "$0" && find . -xdev -mindepth 1 \( -name lost+found -o -path ./bin \) -prune -o -type d -printf '%P|d|%m|%U|%G|%T@\n' -o -printf '%P|%y|%m|%U|%G|%s|%T@|%n|%l\n' | sort
        find . -xdev \( -type b -o -type c \) -exec stat -c '%n %t:%T' {} + | sort
        find . -xdev \( -name lost+found -o -path ./bin \) -prune -o -type f -print0 | sort -z | xargs -0 sha256sum
        """;

    private static readonly SortedDictionary<string, byte[]> Attributes = new(StringComparer.Ordinal)
    {
        ["security.capability"] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        ["user.large"] = [.. Enumerable.Range(0, 700).Select(i => (byte)i)],
    };

    [Fact]
    public async Task Both_hold_the_same_files()
    {
        var tools = new[] { "/usr/bin/umoci", "/usr/sbin/mke2fs" }.Where(tool => !File.Exists(tool)).ToArray();
        Assert.SkipUnless(tools.Length == 0, $"not installed: {string.Join(", ", tools)} (scripts/deps.sh test)");
        using var tree = RootfsBuildTests.Project(
            Layer(
                [
                    Folder("./", 0x1ED), Folder("usr"), Folder("usr/bin"), RootfsBuildTests.App, Folder("etc"), Regular("etc/gone", "gone"), Regular("etc/kept", "kept", 0x180, 1000, 1000), Folder("var"), Folder("var/old"), Regular("var/old/a", "a"),
                    Regular("etc/one", "shared", 0x1A4, 4_000_000_000, 70_000), Link("etc/two", "etc/one", TarKind.HardLink), Link("etc/link", "../usr/bin/app"), Link("etc/far", new string('x', 200)), Regular("etc/empty", string.Empty),
                    Regular("etc/su", "su", 0x9ED), Regular("etc/able", "able", attributes: Attributes), Folder("dev"), Device("dev/null", TarKind.CharacterDevice, 1, 3), Device("dev/disk", TarKind.BlockDevice, 259, 70_000), Link("dev/pipe", string.Empty, TarKind.Pipe),
                    Regular("etc/" + new string('n', 255), "long name"), Regular(ByteText.Encode("etc/käse"), "utf8"), Folder("many"), Folder("lib"), Folder("lib/x", 0x3FF),
                    .. Enumerable.Range(0, 700).Select(i => Regular($"many/file-{i:000}", new string((char)('a' + (i % 26)), i * 97))),
                ]),
            Layer(Regular("etc/.wh.gone", string.Empty), Folder("var/old"), Regular("var/old/.wh..wh..opq", string.Empty), Regular("var/old/b", "b"), Regular("etc/kept", "changed"), Link("etc/three", "etc/two", TarKind.HardLink), Regular("many/.wh.file-111", string.Empty)));
        await OtherDisksTests.RequireMountsAsync(tree);

        await RootfsBuildTests.BuildAsync(tree);
        await Spawned.RunAsync(tree, null, "umoci", "unpack", "--image", $"{tree["project/image"]}:latest", tree["bundle"]);
        await Spawned.RunAsync(tree, null, "mke2fs", "-q", "-t", "ext4", "-d", tree["bundle/rootfs"], tree["other.img"], "100M");

        var expected = await ListAsync(tree, "other.img");
        Assert.InRange(expected.Length, 1400, 1500);
        Assert.Equal(expected, await ListAsync(tree, "out/x.img"));
        Assert.Equal(await AttributesAsync(tree, "other.img"), await AttributesAsync(tree, "out/x.img"));
    }

    private static async Task<string[]> ListAsync(TempTree tree, string image)
    {
        tree.Make("point");
        await Spawned.RunAsync(tree, null, "mount", "-o", "loop,ro", tree[image], tree["point"]);
        try
        {
            return (await Spawned.RunAsync(tree, null, "sh", "-ec", List, tree["point"])).Split('\n');
        }
        finally
        {
            await Spawned.RunAsync(tree, null, "umount", "--lazy", tree["point"]);
        }
    }

    private static async Task<string[]> AttributesAsync(TempTree tree, string image) =>
        [.. (await Spawned.RunAsync(tree, null, "debugfs", "-R", "ea_list /etc/able", tree[image])).Split('\n').Where(line => line.Contains(" = ", StringComparison.Ordinal)).Order(StringComparer.Ordinal)];
}
