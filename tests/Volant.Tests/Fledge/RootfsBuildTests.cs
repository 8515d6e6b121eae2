using System.Text;
using System.Text.Json;
using Volant.Contracts.Manifests;
using Volant.Fledge.Tar;
using static Volant.Tests.Fledge.OciImage;

namespace Volant.Tests.Fledge;

public sealed class RootfsBuildTests
{
    internal const string Config = "version = \"1\"\nstrategy = \"oci_rootfs\"\n[source]\nimage = \"oci:image\"\n[filesystem]\ntype = \"ext4\"\nsize_buffer_mb = 8\n";
    internal const string Run = """{"Entrypoint": ["/usr/bin/app"], "Cmd": ["--serve"], "Env": ["PATH=/usr/bin", "MODE=fast"], "WorkingDir": "/srv", "User": "1000:1000"}""";

    internal static readonly (TarEntry Entry, byte[]? Content) App = Regular("usr/bin/app", "app", 0x1ED);

    [Fact]
    public async Task Later_layers_hide_and_replace_what_earlier_ones_hold()
    {
        using var tree = Project(
            Layer(App, Regular("etc/kept", "old"), Regular("etc/replaced", "old"), Regular("etc/gone", "old"), Regular("var/cache/a", "old"), Regular("var/cache/b", "old"), Folder("opt/dir"), Regular("opt/dir/x", "old")),
            Layer(Regular("etc/replaced", "new"), Regular("etc/.wh.gone", string.Empty), Regular("var/cache/new", "new"), Regular("var/cache/.wh..wh..opq", string.Empty), Regular("opt/.wh.dir", string.Empty), Regular("etc/.wh.never-was", string.Empty)));

        var image = await BuildAsync(tree);

        Assert.Equal("old", Encoding.UTF8.GetString(await image.ReadAsync("/etc/kept")));
        Assert.Equal("new", Encoding.UTF8.GetString(await image.ReadAsync("/etc/replaced")));
        Assert.Equal(["kept", "replaced"], await image.NamesAsync("/etc"));
        Assert.Equal(["new"], await image.NamesAsync("/var/cache"));
        Assert.Empty(await image.NamesAsync("/opt"));
    }

    [Fact]
    public async Task A_whiteout_hides_nothing_of_its_own_layer()
    {
        using var tree = Project(
            Layer(App, Regular("a/old", "1")),
            Layer(Folder("a"), Regular("a/new", "2"), Regular(".wh.a", string.Empty), Regular("b/x", "3"), Regular("b/.wh.x", string.Empty)));

        var image = await BuildAsync(tree);

        Assert.Equal(["new"], await image.NamesAsync("/a"));
        Assert.Equal(["x"], await image.NamesAsync("/b"));
    }

    [Fact]
    public async Task Owners_modes_times_and_attributes_are_those_of_the_image()
    {
        var capability = new byte[] { 1, 0, 0, 2, 0xFF, 0xD8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 };
        using var tree = Project(Layer(
            App,
            Folder("home/u", 0x1C0, uid: 100_000),
            Regular("usr/bin/su", "su", 0x9ED),
            Regular("usr/bin/ping", "ping", 0x1ED, attributes: new(StringComparer.Ordinal) { ["security.capability"] = capability, ["user.note"] = "n"u8.ToArray() }),
            Regular("big-attributes", "x", attributes: new(StringComparer.Ordinal) { ["user.a"] = new byte[1000], ["user.b"] = Encoding.ASCII.GetBytes(new string('b', 777)) }),
            Regular("home/u/f", "f", uid: 4_000_000_000, gid: 70_000)));

        var image = await BuildAsync(tree);

        Assert.Contains("Mode: 0700 Flags", await image.StatAsync("/home/u"), StringComparison.Ordinal);
        Assert.Contains("User: 100000 Group: 0", await image.StatAsync("/home/u"), StringComparison.Ordinal);
        Assert.Contains("Mode: 04755", await image.StatAsync("/usr/bin/su"), StringComparison.Ordinal);
        Assert.Contains("mtime: 0x6553f100", await image.StatAsync("/usr/bin/su"), StringComparison.Ordinal);
        Assert.Contains("User: -294967296 Group: 70000", (await image.StatAsync("/home/u/f")).Replace("4000000000", "-294967296", StringComparison.Ordinal), StringComparison.Ordinal);
        Assert.Contains("security.capability (20) = 01 00 00 02 ff d8", (await image.StatAsync("/usr/bin/ping")).ToLowerInvariant(), StringComparison.Ordinal);
        Assert.Contains("user.note (1) = \"n\"", await image.StatAsync("/usr/bin/ping"), StringComparison.Ordinal);
        Assert.Contains("user.b (777)", await image.StatAsync("/big-attributes"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Links_devices_and_pipes_are_inodes_of_the_image_only()
    {
        var far = "/" + new string('x', 200);
        using var tree = Project(
            Layer(App, Regular("one", "shared"), Link("two", "one", TarKind.HardLink), Link("short", "../../etc/passwd"), Link("far", far), Device("dev/null", TarKind.CharacterDevice, 1, 3), Device("dev/big", TarKind.BlockDevice, 259, 70_000), Link("pipe", string.Empty, TarKind.Pipe)),
            Layer(Link("three", "./two", TarKind.HardLink), Regular("one", "changed")));

        var image = await BuildAsync(tree);

        Assert.Contains("Links: 2", await image.StatAsync("/two"), StringComparison.Ordinal);
        Assert.Equal(Inode(await image.StatAsync("/two")), Inode(await image.StatAsync("/three")));
        Assert.Equal("shared", Encoding.UTF8.GetString(await image.ReadAsync("/three")));
        Assert.Equal("changed", Encoding.UTF8.GetString(await image.ReadAsync("/one")));
        Assert.Contains("Fast link dest: \"../../etc/passwd\"", await image.StatAsync("/short"), StringComparison.Ordinal);
        Assert.Contains("Size: 201", await image.StatAsync("/far"), StringComparison.Ordinal);
        Assert.Contains("Device major/minor number: 01:03", await image.StatAsync("/dev/null"), StringComparison.Ordinal);
        Assert.Contains("Device major/minor number: 259:70000", await image.StatAsync("/dev/big"), StringComparison.Ordinal);
        Assert.Contains("Type: FIFO", await image.StatAsync("/pipe"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_layer_may_go_through_a_link_of_an_earlier_one()
    {
        using var tree = Project(Layer(App, Folder("usr/lib"), Link("lib", "usr/lib")), Layer(Regular("lib/x.so", "x")));

        var image = await BuildAsync(tree);

        Assert.Equal("x", Encoding.UTF8.GetString(await image.ReadAsync("/usr/lib/x.so")));
        Assert.Contains("Type: symlink", await image.StatAsync("/lib"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Large_directories_and_files_are_whole()
    {
        var big = new byte[3_000_001];
        new Random(1).NextBytes(big);
        using var tree = Project(Layer([App, (Regular("big", string.Empty).Entry, big), .. Enumerable.Range(0, 2000).Select(i => Regular($"many/name-that-is-not-short-at-all-{i:0000}", $"{i}"))]));

        var image = await BuildAsync(tree);

        Assert.Equal(big, await image.ReadAsync("/big"));
        Assert.Equal(2000, (await image.NamesAsync("/many")).Length);
        Assert.Equal("1234", Encoding.UTF8.GetString(await image.ReadAsync("/many/name-that-is-not-short-at-all-1234")));
    }

    [Fact]
    public async Task Names_need_not_be_text()
    {
        using var tree = Project(Layer(App, Regular("caf\u00e9", "latin"), Regular(ByteText.Encode("käse"), "utf8"), Regular("a b\nc", "odd")));

        var image = await BuildAsync(tree);

        Assert.Equal("utf8", Encoding.UTF8.GetString(await image.ReadAsync("/käse")));
        Assert.Equal(6, (await image.NamesAsync("/")).Length);
    }

    [Fact]
    public async Task The_image_becomes_the_workload_and_the_agent_is_in_its_place()
    {
        using var tree = Project(Layer(App, Folder("usr/sbin"), Link("bin", "usr/bin")));
        tree.Write("project/extra.conf", "extra");
        tree.Write("project/fledge.toml", Config + "[mappings]\n\"extra.conf\" = \"/etc/extra.conf\"\n\"extra.conf2\" = \"/usr/bin/tool\"\n");
        tree.Write("project/extra.conf2", "tool");

        var run = await FledgeRun.RunAsync(tree, "build", tree["project"], "--output", tree["out/web"], "--json");

        Assert.True(run.ExitCode == 0, run.Error);
        Assert.Equal(["web.img", "web.manifest.json"], tree.Names("out"));
        var manifest = ManifestReader.Read(await File.ReadAllBytesAsync(tree["out/web.manifest.json"], TestContext.Current.CancellationToken));
        Assert.Equal(["/usr/bin/app", "--serve"], manifest.Workload!.Entrypoint);
        Assert.Equal(("process", "/srv", "1000:1000", "fast"), (manifest.Workload.Type, manifest.Workload.Workdir, manifest.Workload.User, manifest.Workload.Env!["MODE"]));
        Assert.Equal((WebFile(tree), "raw", JsonDocument.Parse(run.Out).RootElement.GetProperty("sha256").GetString()), (manifest.Rootfs!.Url, manifest.Rootfs.Format, manifest.Rootfs.Checksum));
        Assert.StartsWith("sha256:", manifest.ImageDigest, StringComparison.Ordinal);
        var image = new Ext4Image(tree, tree["out/web.img"]);
        await image.CheckAsync();
        Assert.Equal(await File.ReadAllBytesAsync(tree["programs/kestrel"], TestContext.Current.CancellationToken), await image.ReadAsync("/usr/bin/kestrel"));
        Assert.Contains("Mode: 0755", await image.StatAsync("/usr/bin/tool"), StringComparison.Ordinal);
        Assert.Equal("extra", Encoding.UTF8.GetString(await image.ReadAsync("/etc/extra.conf")));
    }

    [Fact]
    public async Task A_manifest_has_the_last_word_member_by_member()
    {
        using var tree = Project(Layer(App));
        tree.Write("project/manifest.toml", """
            schema_version = "1.0"
            name = "mine"
            version = "2"
            [resources]
            cpu_cores = 2
            memory_mb = 1024
            [workload]
            base_url = "http://127.0.0.1:80"
            user = "root"
            [workload.env]
            MODE = "slow"
            """);

        var run = await FledgeRun.RunAsync(tree, "build", tree["project"], "--output", tree["out"] + "/");

        Assert.True(run.ExitCode == 0, run.Error);
        var manifest = ManifestReader.Read(await File.ReadAllBytesAsync(tree["out/mine.manifest.json"], TestContext.Current.CancellationToken));
        Assert.Equal(("http", "root", "slow", "/usr/bin", 2), (manifest.Workload!.Type, manifest.Workload.User, manifest.Workload.Env!["MODE"], manifest.Workload.Env["PATH"], manifest.Resources!.CpuCores));
        Assert.Equal(["/usr/bin/app", "--serve"], manifest.Workload.Entrypoint);
    }

    [Fact]
    public async Task A_program_without_a_directory_is_looked_up_in_the_path_of_the_image()
    {
        using var tree = Project(config: """{"Cmd": ["tool", "x"], "Env": ["PATH=/opt/bin:/usr/local/bin"]}""", layers: Layer(Regular("usr/local/bin/tool.real", "t", 0x1ED), Link("usr/local/bin/tool", "tool.real")));

        var run = await FledgeRun.RunAsync(tree, "build", tree["project"], "--output", tree["out/x.img"]);

        Assert.True(run.ExitCode == 0, run.Error);
        Assert.Contains("\"/usr/local/bin/tool\"", await File.ReadAllTextAsync(tree["out/x.manifest.json"], TestContext.Current.CancellationToken), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("""{"Cmd": ["nothing-like-it"]}""", "which is no program in it")]
    [InlineData("""{"Cmd": ["/etc/data"]}""", "which is no program in it")]
    [InlineData("{}", "names no program to run; set 'workload.entrypoint'")]
    [InlineData("""{"Cmd": ["/usr/bin/app"], "User": "a b"}""", "runs as the user 'a b'")]
    public async Task An_image_that_cannot_run_is_refused_with_the_remedy(string config, string expected)
    {
        using var tree = Project(config: config, layers: Layer(App, Regular("etc/data", "no program")));

        var run = await FledgeRun.RunAsync(tree, "build", tree["project"], "--output", tree["out/x"]);

        Assert.Equal(1, run.ExitCode);
        Assert.Contains(expected, run.Error, StringComparison.Ordinal);
        Assert.Empty(tree.Names("out"));
    }

    [Fact]
    public async Task The_same_image_gives_the_same_bytes_whatever_is_hidden_and_whenever()
    {
        using var tree = Project(Layer(App, Regular("gone", new string('g', 100_000)), Regular("kept", "k")), Layer(Regular(".wh.gone", string.Empty), Regular("last", "l")));

        await BuildAsync(tree);
        var first = await File.ReadAllBytesAsync(tree["out/x.img"], TestContext.Current.CancellationToken);
        File.Delete(tree["out/x.img"]);
        await BuildAsync(tree);

        Assert.Equal(first, await File.ReadAllBytesAsync(tree["out/x.img"], TestContext.Current.CancellationToken));
        Assert.Equal(-1, first.AsSpan().IndexOf(Encoding.ASCII.GetBytes(new string('g', 1000))));
    }

    [Fact]
    public async Task The_free_space_is_the_buffer_and_holes_take_no_space()
    {
        using var tree = Project(Layer(App));
        tree.Write("project/fledge.toml", Config.Replace("size_buffer_mb = 8", "size_buffer_mb = 300", StringComparison.Ordinal));

        var image = await BuildAsync(tree);

        var free = long.Parse((await image.RunAsync("stats -h")).Split('\n').Single(line => line.StartsWith("Free blocks:", StringComparison.Ordinal)).Split(' ')[^1], System.Globalization.CultureInfo.InvariantCulture);
        Assert.InRange(free * 4096, 300L << 20, 310L << 20);
        var used = long.Parse((await Spawned.RunAsync(tree, null, "/usr/bin/stat", "-c", "%b", tree["out/x.img"])).Trim(), System.Globalization.CultureInfo.InvariantCulture) * 512;
        Assert.InRange(used, 1, 2L << 20);
    }

    [Fact]
    public async Task A_docker_archive_gives_the_same_files()
    {
        using var tree = Project(Layer(App));
        WriteDockerArchive(tree, "project/saved.tar", Run, Layer(App, Regular("a", "1")), Layer(Regular("a", "2")));
        tree.Write("project/fledge.toml", Config.Replace("oci:image", "docker-archive:saved.tar", StringComparison.Ordinal));

        var image = await BuildAsync(tree);

        Assert.Equal("2", Encoding.UTF8.GetString(await image.ReadAsync("/a")));
    }

    [Fact]
    public async Task An_archive_of_a_layout_gives_the_same_bytes_as_the_layout()
    {
        using var tree = Project(Layer(App, Regular("a", "1")));
        await BuildAsync(tree);
        var expected = await File.ReadAllBytesAsync(tree["out/x.img"], TestContext.Current.CancellationToken);
        await Spawned.RunAsync(tree, null, "/bin/tar", "-C", tree["project/image"], "-cf", tree["project/image.tar"], ".");
        tree.Write("project/fledge.toml", Config.Replace("oci:image", "oci-archive:image.tar", StringComparison.Ordinal));

        await BuildAsync(tree);

        Assert.Equal(expected, await File.ReadAllBytesAsync(tree["out/x.img"], TestContext.Current.CancellationToken));
    }

    internal static TempTree Project(params byte[][] layers) => Project(Run, layers);

    internal static TempTree Project(string config, params byte[][] layers)
    {
        Ext4Image.RequireTools();
        var tree = FledgeRun.Project(Config);
        WriteLayout(tree, "project/image", config, layers);
        return tree;
    }

    /// <summary>Builds the project, which must succeed, and checks the file system.</summary>
    internal static async Task<Ext4Image> BuildAsync(TempTree tree)
    {
        var run = await FledgeRun.RunAsync(tree, "build", tree["project"], "--output", tree["out/x.img"]);
        Assert.True(run.ExitCode == 0, run.Error);
        var image = new Ext4Image(tree, tree["out/x.img"]);
        await image.CheckAsync();
        return image;
    }

    private static string WebFile(TempTree tree) => "file://" + tree["out/web.img"];

    private static string Inode(string stat) => stat.Split(' ')[1];
}
