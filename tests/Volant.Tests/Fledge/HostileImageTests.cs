using System.IO.Compression;
using System.Text;
using Volant.Fledge;
using Volant.Fledge.Oci;
using Volant.Fledge.Rootfs;
using Volant.Fledge.Tar;
using static Volant.Tests.Fledge.OciImage;

namespace Volant.Tests.Fledge;

/// <summary>Images that mean harm, or are damaged: a clear error, and nothing is left.</summary>
public sealed class HostileImageTests
{
    private static readonly Dictionary<string, (TarEntry Entry, string Expected)> Entries = new(StringComparer.Ordinal)
    {
        ["up"] = (Regular("../evil", "x").Entry, "leads out of its directory with '..'"),
        ["up inside"] = (Regular("a/../../evil", "x").Entry, "leads out of its directory with '..'"),
        ["absolute"] = (Regular("/etc/passwd", "x").Entry, "is absolute"),
        ["long name"] = (Regular(new string('n', 300), "x").Entry, "has 300 bytes"),
        ["long path"] = (Regular(string.Concat(Enumerable.Repeat("dddd/", 1000)) + "f", "x").Entry, "at most 4095 are possible"),
        ["link up as a directory"] = (Regular("out/evil", "x").Entry, "leads out of the image through a symbolic link"),
        ["link loop"] = (Regular("loop/x", "x").Entry, "leads through more than 40 symbolic links"),
        ["below a file"] = (Regular("usr/bin/app/x", "x").Entry, "is no directory"),
        ["hard link up"] = (Link("h", "../../etc/shadow", TarKind.HardLink).Entry, "leads out of its directory"),
        ["absolute hard link"] = (Link("h", "/etc/shadow", TarKind.HardLink).Entry, "is absolute"),
        ["hard link to nothing"] = (Link("h", "nothing", TarKind.HardLink).Entry, "which is not in the image"),
        ["hard link to a directory"] = (Link("h", "usr", TarKind.HardLink).Entry, "is a hard link to the directory"),
        ["hard link out through a link"] = (Link("h", "out/x", TarKind.HardLink).Entry, "leads out of the image through a symbolic link"),
        ["root is a file"] = (Regular("./", "x").Entry with { Kind = TarKind.SymbolicLink, LinkName = "x" }, "would replace the root directory"),
        ["whiteout of nothing"] = (Regular(".wh.", string.Empty).Entry, "names nothing"),
        ["whiteout of up"] = (Regular("a/.wh...", string.Empty).Entry, "names nothing"),
        ["whiteout out through a link"] = (Regular("out/.wh.etc", string.Empty).Entry, "leads out of the image through a symbolic link"),
        ["opaque whiteout out through a link"] = (Regular("out/.wh..wh..opq", string.Empty).Entry, "leads out of the image through a symbolic link"),
        ["link without target"] = (Link("l", string.Empty).Entry, "has a target of 0 bytes"),
        ["device number"] = (Device("d", TarKind.BlockDevice, 5000, 1).Entry, "has the device number 5000"),
    };

    public static TheoryData<string> Names => [.. Entries.Keys];

    [Theory]
    [MemberData(nameof(Names))]
    public async Task An_entry_that_no_image_may_hold_is_refused(string name)
    {
        var (entry, expected) = Entries[name];
        using var tree = RootfsBuildTests.Project(Layer(RootfsBuildTests.App, Link("out", "../../.."), Link("loop", "loop"), Folder("a")), Layer((entry, null)));

        await RefuseAsync(tree, expected, name);
    }

    [Fact]
    public async Task A_link_that_points_out_of_the_image_is_only_text()
    {
        using var tree = RootfsBuildTests.Project(Layer(RootfsBuildTests.App, Link("etc/mtab", "../proc/self/mounts"), Link("up", "../../../../etc")));

        await RootfsBuildTests.BuildAsync(tree);
    }

    [Theory]
    [InlineData("layer", "The layer sha256:")]
    [InlineData("config", "The configuration sha256:")]
    [InlineData("manifest", "The manifest sha256:")]
    public async Task A_content_that_was_changed_is_refused(string what, string expected)
    {
        using var tree = RootfsBuildTests.Project();
        Directory.Delete(tree["project/image"], recursive: true);
        WriteLayout(tree, "project/image", RootfsBuildTests.Run, [Layer(RootfsBuildTests.App)], Gzip, (bytes, kind) => kind == what ? [.. bytes[..^1], (byte)(bytes[^1] ^ 1)] : bytes);

        await RefuseAsync(tree, expected);
    }

    [Theory]
    [InlineData("layer")]
    [InlineData("config")]
    [InlineData("manifest")]
    [InlineData("index")]
    public async Task A_content_that_was_cut_is_refused(string what)
    {
        using var tree = RootfsBuildTests.Project();
        Directory.Delete(tree["project/image"], recursive: true);
        WriteLayout(tree, "project/image", RootfsBuildTests.Run, [Layer(RootfsBuildTests.App)], Gzip, (bytes, kind) => kind == what ? bytes[..(bytes.Length / 2)] : bytes);

        await RefuseAsync(tree, string.Empty);
    }

    [Fact]
    public async Task An_unpacked_layer_with_another_digest_is_refused()
    {
        using var tree = RootfsBuildTests.Project();
        Directory.Delete(tree["project/image"], recursive: true);
        var other = Layer(RootfsBuildTests.App, Regular("more", "x"));
        WriteLayout(tree, "project/image", RootfsBuildTests.Run, [Layer(RootfsBuildTests.App)], _ => Gzip(other), (bytes, _) => bytes);

        await RefuseAsync(tree, "unpacked, has the digest");
    }

    [Fact]
    public async Task A_bomb_is_refused_long_before_it_is_unpacked()
    {
        using var tree = RootfsBuildTests.Project();
        Directory.Delete(tree["project/image"], recursive: true);
        var zeros = new byte[(int)OciLimits.FreeUnpackedBytes + (8 << 20)];
        WriteLayout(tree, "project/image", RootfsBuildTests.Run, [Layer(RootfsBuildTests.App, (Regular("zeros", string.Empty).Entry, zeros))], layer => Gzip(layer, CompressionLevel.SmallestSize), (bytes, _) => bytes);

        await RefuseAsync(tree, $"at most {OciLimits.MaxRatio} times its packed size");
    }

    [Fact]
    public void More_files_than_an_image_may_have_are_refused_while_they_are_read()
    {
        using var file = File.OpenHandle(Path.GetTempFileName(), FileMode.Create, FileAccess.ReadWrite, FileShare.None, FileOptions.DeleteOnClose);
        var merger = new LayerMerger(new RootTree(1000), new ContentStore(file, 1));
        var endless = new EndlessTar();

        var failure = Assert.Throws<FledgeException>(() => merger.Apply(new TarReader(endless), TestContext.Current.CancellationToken));

        Assert.Contains("more than 1000 files", failure.Message, StringComparison.Ordinal);
        Assert.InRange(endless.Served, 1, 1010 * TarFormat.BlockBytes);
        Assert.Equal(1_000_000, RootTree.MaxEntries);
    }

    [Theory]
    [InlineData("no tar at all, but 512 bytes of text", "has a header with a wrong checksum")]
    [InlineData("short", "ends in the middle of a header")]
    public async Task A_layer_that_is_no_archive_is_refused(string text, string expected)
    {
        using var tree = RootfsBuildTests.Project(Encoding.ASCII.GetBytes(text.Length > 10 ? text.PadRight(600) : text));

        await RefuseAsync(tree, expected);
    }

    [Fact]
    public async Task An_archive_without_its_last_zeros_is_whole()
    {
        var layer = Layer(RootfsBuildTests.App);
        using var tree = RootfsBuildTests.Project(layer[..^1024]);

        Assert.Equal("app", Encoding.UTF8.GetString(await (await RootfsBuildTests.BuildAsync(tree)).ReadAsync("/usr/bin/app")));
    }

    [Fact]
    public void A_damaged_archive_is_refused_or_read_and_never_anything_else()
    {
        var layer = Layer(RootfsBuildTests.App, Regular(new string('l', 150), "long", attributes: new(StringComparer.Ordinal) { ["user.x"] = [1, 2, 3] }), Link("two", "usr/bin/app", TarKind.HardLink), Folder("d"), Device("dev", TarKind.CharacterDevice, 1, 3));
        var random = new Random(7);
        using var file = File.OpenHandle(Path.GetTempFileName(), FileMode.Create, FileAccess.ReadWrite, FileShare.None, FileOptions.DeleteOnClose);
        for (var i = 0; i < 3000; i++)
        {
            var damaged = (byte[])layer.Clone();
            for (var k = random.Next(1, 6); k > 0; k--)
            {
                damaged[random.Next(damaged.Length)] = (byte)random.Next(256);
            }

            // Most changes would end at the checksum: put it right, so that what lies behind is reached.
            for (var header = 0; header + 512 <= damaged.Length; header += 512)
            {
                damaged.AsSpan(header + 148, 8).Fill((byte)' ');
                var sum = damaged.AsSpan(header, 512).ToArray().Sum(b => b);
                Encoding.ASCII.GetBytes(Convert.ToString(sum, 8).PadLeft(6, '0') + "\0 ").CopyTo(damaged, header + 148);
            }

            try
            {
                new LayerMerger(new RootTree(), new ContentStore(file, 1)).Apply(new TarReader(new MemoryStream(damaged[..random.Next(512, damaged.Length)])), TestContext.Current.CancellationToken);
            }
            catch (FledgeException e)
            {
                Assert.NotEmpty(e.Message);
            }
        }
    }

    [Fact]
    public async Task An_image_for_another_machine_is_refused_by_name()
    {
        using var tree = RootfsBuildTests.Project();
        var index = """{"schemaVersion": 2, "manifests": [{"digest": "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "size": 5, "platform": {"os": "linux", "architecture": "s390x"}}, {"digest": "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab", "size": 5, "platform": {"os": "linux", "architecture": "riscv64"}}]}""";
        tree.Write("project/image/index.json", index);

        await RefuseAsync(tree, "but for: linux/s390x, linux/riscv64");
    }

    [Fact]
    public async Task An_index_that_leads_to_itself_ends()
    {
        using var tree = RootfsBuildTests.Project();
        var index = "{\"manifests\": [{\"digest\": \"sha256:" + new string('a', 64) + "\", \"size\": 5}]}";
        for (var i = 0; i < 8; i++)
        {
            var bytes = Encoding.ASCII.GetBytes(index);
            tree.Write($"project/image/blobs/sha256/{Digest(bytes)[7..]}", bytes);
            index = "{\"manifests\": [{\"digest\": \"" + Digest(bytes) + "\", \"size\": " + bytes.Length + "}]}";
        }

        tree.Write("project/image/index.json", index);

        await RefuseAsync(tree, "leads through more than 4 indexes");
    }

    [Fact]
    public async Task What_is_not_there_is_named()
    {
        using var tree = RootfsBuildTests.Project(Layer(RootfsBuildTests.App));
        Directory.Delete(tree["project/image/blobs"], recursive: true);

        await RefuseAsync(tree, "is incomplete: it lacks sha256:");
        tree.Write("project/fledge.toml", RootfsBuildTests.Config.Replace("oci:image", "oci:nowhere", StringComparison.Ordinal));
        await RefuseAsync(tree, "There is no directory");
        tree.Write("project/fledge.toml", RootfsBuildTests.Config.Replace("oci:image", "docker-archive:nowhere.tar", StringComparison.Ordinal));
        await RefuseAsync(tree, "nowhere.tar");
        tree.Write("project/fledge.toml", RootfsBuildTests.Config.Replace("oci:image", "oci:image:other", StringComparison.Ordinal));
        await RefuseAsync(tree, "holds no image tagged 'other'; it has: latest");
    }

    private static async Task RefuseAsync(TempTree tree, string expected, string? because = null)
    {
        var run = await FledgeRun.RunAsync(tree, "build", tree["project"], "--output", tree["out/x"]);

        Assert.True(run.ExitCode == 1, $"{because}: {run.ExitCode} {run.Error}");
        Assert.Contains(expected, run.Error, StringComparison.Ordinal);
        Assert.Equal(string.Empty, run.Out);
        Assert.Empty(tree.Names("out"));
    }

    /// <summary>An archive of empty files that never ends.</summary>
    private sealed class EndlessTar : Stream
    {
        private byte[] _block = [];
        private int _at;
        private int _number;

        public long Served { get; private set; }

        public override bool CanRead => true;

        public override bool CanSeek => false;

        public override bool CanWrite => false;

        public override long Length => throw new NotSupportedException();

        public override long Position { get => Served; set => throw new NotSupportedException(); }

        public override int Read(byte[] buffer, int offset, int count)
        {
            if (_at == _block.Length)
            {
                _block = Layer(Regular($"f{_number++}", string.Empty))[..TarFormat.BlockBytes];
                _at = 0;
            }

            var part = Math.Min(count, _block.Length - _at);
            _block.AsSpan(_at, part).CopyTo(buffer.AsSpan(offset));
            _at += part;
            Served += part;
            return part;
        }

        public override void Flush()
        {
        }

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();

        public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();
    }
}
