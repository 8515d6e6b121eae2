using System.IO.Compression;
using System.Security.Cryptography;
using System.Text.Json;
using Volant.Contracts.Manifests;
using Volant.Fledge.Initramfs;

namespace Volant.Tests.Fledge;

public sealed class BuildCommandTests
{
    internal const string Manifest = """
        schema_version = "1.0"
        name = "hello"
        version = "1.2"
        [resources]
        cpu_cores = 1
        memory_mb = 256
        [workload]
        type = "http"
        entrypoint = "/srv/app"
        args = ["--port", "80"]
        base_url = "http://127.0.0.1:80"

        """;

    [Fact]
    public async Task The_agent_is_PID_1_and_busybox_provides_commands()
    {
        using var tree = FledgeRun.Project();

        var members = (await FledgeRun.BuildAsync(tree)).ToDictionary(member => member.Path, StringComparer.Ordinal);

        Assert.Equal(await BytesAsync(tree["programs/kestrel"]), members["init"].Content);
        Assert.Equal(('-', 0x1EDu), (members["init"].Kind, members["init"].Permissions));
        Assert.Equal(('l', "/init"), (members["bin/kestrel"].Kind, members["bin/kestrel"].Text));
        Assert.Equal(("/bin/busybox", "/bin/busybox"), (members["bin/sh"].Text, members["usr/sbin/httpd"].Text));
        Assert.False(members.ContainsKey("bin/ls"));
        Assert.Equal(('d', 0x3FFu), (members["tmp"].Kind, members["tmp"].Permissions));
        Assert.All((string[])["proc", "sys", "dev", "run", "etc", "var", "bin"], path => Assert.Equal('d', members[path].Kind));
        Assert.All(members.Values, member => Assert.Equal((0u, 0u, 0u), (member.Uid, member.Gid, member.Time)));
    }

    [Fact]
    public async Task An_agent_behind_a_link_is_the_program_that_the_link_names()
    {
        using var tree = FledgeRun.Project("[agent]\nsource_strategy = \"local\"\npath = \"linked\"\n");
        tree.Link("project/linked", "../programs/kestrel");

        var members = (await FledgeRun.BuildAsync(tree)).ToDictionary(member => member.Path, StringComparer.Ordinal);

        Assert.Equal(await BytesAsync(tree["programs/kestrel"]), members["init"].Content);
    }

    [Fact]
    public async Task Mapped_files_get_their_modes_by_place()
    {
        using var tree = FledgeRun.Project("[mappings]\n\"tool\" = \"/usr/bin/tool\"\n\"tool2\" = \"/lib64/x.so\"\n\"data\" = \"/etc/data\"\n\"dir\" = \"/srv\"\n");
        tree.Write("project/tool", "t");
        tree.Write("project/tool2", "t");
        tree.Write("project/data", "d", (UnixFileMode)0x180);
        tree.Write("project/dir/run", "r", (UnixFileMode)0x1C0);
        tree.Link("project/dir/link", "../etc/data");
        tree.Link("project/dir/broken", "/nowhere");

        var members = (await FledgeRun.BuildAsync(tree)).ToDictionary(member => member.Path, StringComparer.Ordinal);

        Assert.Equal([0x1EDu, 0x1EDu, 0x180u, 0x1C0u], new[] { "usr/bin/tool", "lib64/x.so", "etc/data", "srv/run" }.Select(path => members[path].Permissions));
        Assert.Equal(('l', "../etc/data", "/nowhere"), (members["srv/link"].Kind, members["srv/link"].Text, members["srv/broken"].Text));
    }

    [Fact]
    public async Task The_same_inputs_give_the_same_bytes_whatever_order_umask_and_time()
    {
        using TempTree first = FledgeRun.Project("[mappings]\n\"dir\" = \"/srv\"\n"), second = FledgeRun.Project("[mappings]\n\"dir\" = \"/srv\"\n");
        string[] names = ["b", "a", "ä", "sub/z", "sub/y"];
        foreach (var name in names)
        {
            first.Write($"project/dir/{name}", name);
        }

        foreach (var name in names.Reverse())
        {
            second.Write($"project/dir/{name}", name);
            File.SetLastWriteTimeUtc(second[$"project/dir/{name}"], DateTime.UnixEpoch);
        }

        Assert.Equal(0, (await FledgeRun.RunAsync(first, "build", first["project"], "-o", first["out/x.cpio.gz"])).ExitCode);
        await Spawned.RunAsync(
            second,
            null,
            "/bin/sh",
            "-c",
            "umask 077; export LC_ALL=C.UTF-8 FLEDGE_AGENT=\"$2/programs/kestrel\" && cd \"$2\" && exec \"$1\" build -q --config project/fledge.toml -o \"$2/out/x.cpio.gz\"",
            "sh",
            Path.Combine(AppContext.BaseDirectory, "fledge"),
            second.Root);

        // The spawned one takes this host's busybox: compare everything else by unpacking.
        var left = Newc.Read(await UnzipAsync(first["out/x.cpio.gz"])).Where(IsOurs);
        var right = Newc.Read(await UnzipAsync(second["out/x.cpio.gz"])).Where(IsOurs);
        Assert.Equal(left.Select(Line), right.Select(Line), StringComparer.Ordinal);
        Assert.Equal((UnixFileMode)0x1A4, File.GetUnixFileMode(second["out/x.cpio.gz"]));

        Assert.Equal(0, (await FledgeRun.RunAsync(second, "build", second["project"], "-o", second["out/y.cpio.gz"])).ExitCode);
        Assert.Equal(await BytesAsync(first["out/x.cpio.gz"]), await BytesAsync(second["out/y.cpio.gz"]));

        static bool IsOurs(NewcMember member) => member.Path.StartsWith("srv", StringComparison.Ordinal) || member.Path is "init" or "tmp" or "etc/passwd";
        static string Line(NewcMember member) => $"{member.Path} {member.Mode:x} {member.Uid} {member.Gid} {member.Links} {member.Time} {Convert.ToHexString(SHA256.HashData(member.Content))}";
    }

    [Fact]
    public async Task The_manifest_names_the_artifact_and_its_checksum()
    {
        using var tree = FledgeRun.Project(manifest: Manifest);

        var run = await FledgeRun.RunAsync(tree, "build", tree["project"], "--output", tree["out"] + "/", "--json");

        Assert.Equal((0, string.Empty), (run.ExitCode, run.Error));
        Assert.Equal(["hello.cpio.gz", "hello.manifest.json"], tree.Names("out"));
        var result = JsonDocument.Parse(run.Out).RootElement;
        var sha256 = Convert.ToHexStringLower(SHA256.HashData(await BytesAsync(tree["out/hello.cpio.gz"])));
        Assert.Equal((sha256, tree["out/hello.cpio.gz"], tree["out/hello.manifest.json"]), (result.GetProperty("sha256").GetString(), result.GetProperty("artifact").GetString(), result.GetProperty("manifest").GetString()));
        Assert.Equal(new FileInfo(tree["out/hello.cpio.gz"]).Length, result.GetProperty("size_bytes").GetInt64());
        var manifest = ManifestReader.Read(await BytesAsync(tree["out/hello.manifest.json"]));
        Assert.Equal(($"file://{tree["out/hello.cpio.gz"]}", sha256), (manifest.Initramfs!.Url, manifest.Initramfs.Checksum));
        Assert.Equal(["/srv/app", "--port", "80"], manifest.Workload!.Entrypoint!);
    }

    [Fact]
    public async Task Faults_of_both_files_come_at_once_and_nothing_is_written()
    {
        using var tree = FledgeRun.Project("x = 1\n", Manifest.Replace("cpu_cores = 1", "cpu_cores = 0\nram = 3", StringComparison.Ordinal));

        var run = await FledgeRun.RunAsync(tree, "build", tree["project"], "--output", tree["out"]);

        Assert.Equal(1, run.ExitCode);
        Assert.Contains("fledge.toml:3:1: 'x' is not a known key", run.Error, StringComparison.Ordinal);
        Assert.Contains("manifest.toml:5:1: 'resources.cpu_cores' must be at least 1", run.Error, StringComparison.Ordinal);
        Assert.Contains("manifest.toml:6:1: 'resources.ram' is not a known key", run.Error, StringComparison.Ordinal);
        Assert.Empty(tree.Names("out"));
    }

    [Fact]
    public async Task A_named_file_becomes_PID_1()
    {
        using var tree = FledgeRun.Project("[init]\npath = \"my-init\"\n[source]\nbusybox = false\n");
        tree.Write("project/my-init", "#!/x");

        var members = await FledgeRun.BuildAsync(tree);

        Assert.Equal(("#!/x", 0x1EDu), (members.Single(member => member.Path == "init").Text, members.Single(member => member.Path == "init").Permissions));
        Assert.DoesNotContain(members, member => member.Path is "bin/busybox" or "bin/kestrel" or "bin/sh");
    }

    [Fact]
    public async Task A_mapped_path_may_be_named_as_PID_1()
    {
        using var tree = FledgeRun.Project("[init]\npath = \"/usr/bin/my-init\"\n[mappings]\n\"i\" = \"/usr/bin/my-init\"\n");
        tree.Write("project/i", "x");

        Assert.Equal(('l', "/usr/bin/my-init"), (await FledgeRun.BuildAsync(tree)).Where(member => member.Path == "init").Select(member => (member.Kind, member.Text)).Single());
    }

    [Fact]
    public async Task A_mapping_may_be_PID_1()
    {
        using var tree = FledgeRun.Project("[init]\nnone = true\n[mappings]\n\"i\" = \"/init\"\n");
        tree.Write("project/i", "x", (UnixFileMode)0x1ED);

        Assert.Equal("x", (await FledgeRun.BuildAsync(tree)).Single(member => member.Path == "init").Text);
    }

    [Theory]
    [InlineData("[init]\nnone = true\n", "no mapping provides '/init'")]
    [InlineData("[init]\nnone = true\n[mappings]\n\"data\" = \"/init\"\n", "is not an executable file")]
    [InlineData("[init]\npath = \"missing\"\n", "neither mapped into the guest nor a file on this host")]
    [InlineData("[mappings]\n\"data\" = \"/init\"\n", "Two things claim '/init'")]
    [InlineData("[mappings]\n\"data\" = \"/bin/kestrel\"\n", "Two things claim '/bin/kestrel'")]
    [InlineData("[mappings]\n\"data\" = \"/x\"\n\"./data\" = \"/x\"\n", "Two things claim '/x'")]
    [InlineData("[mappings]\n\"data\" = \"/x\"\n\"./data\" = \"/x/y\"\n", "cannot lie below it")]
    [InlineData("[mappings]\n\"absent\" = \"/x\"\n", "fledge.toml:4:1: '")]
    [InlineData("[mappings]\n\"data\" = \"/x/\"\n", "is not a directory; write the whole guest path, '/x/data'")]
    [InlineData("[mappings]\n\"data\" = \"/\"\n", "is not a directory; write the whole guest path")]
    [InlineData("[mappings]\n\"/dev/null\" = \"/x\"\n", "'/dev/null' is a device node")]
    [InlineData("[mappings]\n\"..\" = \"/x\"\n", "which would pack itself")]
    [InlineData("[agent]\nsource_strategy = \"local\"\npath = \"data\"\n", "is not an ELF program")]
    [InlineData("[agent]\nsource_strategy = \"local\"\npath = \"absent\"\n", "Cannot read the agent")]
    public async Task What_cannot_be_packed_is_refused_and_nothing_is_left(string config, string expected)
    {
        using var tree = FledgeRun.Project(config);
        tree.Write("project/data", "d");

        var run = await FledgeRun.RunAsync(tree, "build", tree["project"], "--output", tree["out/x"]);

        Assert.Equal(1, run.ExitCode);
        Assert.Contains(expected, run.Error, StringComparison.Ordinal);
        Assert.Empty(tree.Names("out"));
    }

    [Theory]
    [InlineData(3u, null, "is dynamically linked")]
    [InlineData(1u, 40, "is a program for another machine")]
    public async Task A_busybox_that_cannot_run_in_the_guest_is_refused(uint segment, int? machine, string expected)
    {
        using var tree = FledgeRun.Project();
        tree.Write("programs/busybox", FledgeRun.StaticElf("sh\0", segment, (ushort?)machine));

        var run = await FledgeRun.RunAsync(tree, "build", tree["project"], "--output", tree["out/x"]);

        Assert.Equal(1, run.ExitCode);
        Assert.Contains(expected, run.Error, StringComparison.Ordinal);
        Assert.Contains("busybox-static", run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_socket_in_a_mapped_directory_is_refused()
    {
        using var tree = FledgeRun.Project("[mappings]\n\"dir\" = \"/srv\"\n");
        tree.Make("project/dir");
        using var socket = new System.Net.Sockets.Socket(System.Net.Sockets.AddressFamily.Unix, System.Net.Sockets.SocketType.Stream, System.Net.Sockets.ProtocolType.Unspecified);
        socket.Bind(new System.Net.Sockets.UnixDomainSocketEndPoint(tree["project/dir/s"]));

        var run = await FledgeRun.RunAsync(tree, "build", tree["project"], "--output", tree["out/x"]);

        Assert.Equal(1, run.ExitCode);
        Assert.Contains("is a socket; only files, directories and links", run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_root_directory_with_links_for_bin_takes_everything_through_them()
    {
        using var tree = FledgeRun.Project("[mappings]\n\"root\" = \"/\"\n\"data\" = \"/sbin/tool\"\n");
        tree.Make("project/root/usr/bin");
        tree.Link("project/root/bin", "usr/bin");
        tree.Link("project/root/sbin", "/bin");
        tree.Write("project/data", "d");

        var members = await FledgeRun.BuildAsync(tree);

        Assert.Equal('l', members.Single(member => member.Path == "bin").Kind);
        Assert.Contains(members, member => member is { Path: "usr/bin/tool", Text: "d" });
        Assert.Contains(members, member => member is { Path: "usr/bin/busybox" });
        Assert.DoesNotContain(members, member => member.Path.StartsWith("bin/", StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_mapped_link_is_followed_and_a_broken_one_refused()
    {
        using var tree = FledgeRun.Project("[mappings]\n\"link\" = \"/srv/data\"\n");
        tree.Link("project/link", "middle");
        tree.Link("project/middle", "../data");
        tree.Write("data", "d");

        Assert.Equal(("d", '-'), (await FledgeRun.BuildAsync(tree)).Where(member => member.Path == "srv/data").Select(member => (member.Text, member.Kind)).Single());

        File.Delete(tree["data"]);
        var run = await FledgeRun.RunAsync(tree, "build", tree["project"], "--output", tree["out/y"]);
        Assert.Contains("fledge.toml:4:1: ", run.Error, StringComparison.Ordinal);
        Assert.Contains("does not exist", run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_directory_of_one_mapping_goes_through_the_link_of_another()
    {
        using var tree = FledgeRun.Project("[mappings]\n\"root\" = \"/\"\n\"dir\" = \"/a\"\n");
        tree.Link("project/root/a", "b");
        tree.Link("project/root/b", "/c");
        tree.Write("project/dir/sub/x", "d");

        var members = await FledgeRun.BuildAsync(tree);

        Assert.Contains(members, member => member is { Path: "c/sub/x", Text: "d" });
        Assert.Equal("ll", string.Concat(members.Where(member => member.Path is "a" or "b").Select(member => member.Kind)));
    }

    [Fact]
    public async Task A_loop_of_links_in_the_guest_is_refused()
    {
        using var tree = FledgeRun.Project("[mappings]\n\"root\" = \"/\"\n\"data\" = \"/a/x\"\n");
        tree.Link("project/root/a", "b");
        tree.Link("project/root/b", "a");
        tree.Write("project/data", "d");

        var run = await FledgeRun.RunAsync(tree, "build", tree["project"], "--output", tree["out/y"]);

        Assert.Equal(1, run.ExitCode);
        Assert.Contains("leads through more than 40 symbolic links", run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_cancelled_build_leaves_nothing()
    {
        using var tree = FledgeRun.Project(manifest: Manifest);
        using var cancelled = new CancellationTokenSource();
        await cancelled.CancelAsync();

        var run = await FledgeRun.RunAsync(tree, cancelled.Token, "build", tree["project"], "--output", tree["out/"]);

        Assert.Equal(130, run.ExitCode);
        Assert.Empty(tree.Names("out"));
    }

    [Theory]
    [InlineData("build", "--compress", "lz4")]
    [InlineData("build", "--compres")]
    [InlineData("bild")]
    [InlineData("build", "a", "b")]
    [InlineData("modules")]
    [InlineData("build", "/nonexistent")]
    [InlineData("build", "--context", ".")]
    [InlineData("build", "--build-arg", "A=b", "--output-initramfs")]
    [InlineData("build", "docker://A b")]
    [InlineData("build", "oci:x", "--target", "t")]
    [InlineData("build", "/etc/passwd", "--build-arg", "9=b")]
    public async Task Wrong_usage_exits_with_2_and_few_lines(params string[] arguments)
    {
        using var tree = FledgeRun.Project();

        var run = await FledgeRun.RunAsync(tree, arguments);

        Assert.Equal(2, run.ExitCode);
        Assert.NotEmpty(run.Error);
        Assert.DoesNotContain("Usage:", run.Error + run.Out, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(null, null, "n", "./n.cpio.gz")]
    [InlineData("sub/", "none", "n", "sub/n.cpio")]
    [InlineData("other", null, "n", "other.cpio.gz")]
    [InlineData("other.cpio", null, "n", "other.cpio")]
    [InlineData("other.cpio.gz", "gzip", "n", "other.cpio.gz")]
    public void Names_follow_from_output_and_compression(string? output, string? compress, string name, string expected)
    {
        var names = Volant.Fledge.Output.OutputNames.Resolve(output, name, compress switch { "none" => Volant.Fledge.Output.Compression.None, "gzip" => Volant.Fledge.Output.Compression.Gzip, _ => null });

        Assert.Equal(Path.GetFullPath(expected), names.Artifact);
        Assert.Equal(Path.GetFullPath(expected).Replace(".gz", string.Empty, StringComparison.Ordinal).Replace(".cpio", ".manifest.json", StringComparison.Ordinal), names.Manifest);
    }

    [Fact]
    public async Task A_contradiction_of_suffix_and_compression_is_refused()
    {
        using var tree = FledgeRun.Project();

        var run = await FledgeRun.RunAsync(tree, "build", tree["project"], "--output", tree["out/x.cpio"], "--compress", "gzip");

        Assert.Equal(2, run.ExitCode);
        Assert.Contains("contradict each other", run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Inspect_lists_what_build_packed()
    {
        using var tree = FledgeRun.Project();
        await FledgeRun.RunAsync(tree, "build", tree["project"], "-o", tree["out/x.cpio.gz"]);

        var run = await FledgeRun.RunAsync(tree, "inspect", tree["out/x.cpio.gz"]);

        Assert.Equal(0, run.ExitCode);
        Assert.Contains(Convert.ToHexStringLower(SHA256.HashData(await BytesAsync(tree["out/x.cpio.gz"]))), run.Out, StringComparison.Ordinal);
        Assert.Matches(@"\ndrwxrwxrwt +0 +0 +0 /tmp\n", run.Out);
        Assert.Matches(@"\nlrwxrwxrwx +0 +0 +5 /bin/kestrel -> /init\n", run.Out);
    }

    [Fact]
    public void Only_commands_that_the_busybox_has_are_linked() =>
        Assert.Equal(["/bin/cat", "/usr/bin/["], BusyboxApplets.Links("\0[\0cat\0catch\0concat"u8.ToArray()), StringComparer.Ordinal);

    private static async Task<byte[]> UnzipAsync(string path)
    {
        await using var unzipped = new GZipStream(File.OpenRead(path), CompressionMode.Decompress);
        using var all = new MemoryStream();
        await unzipped.CopyToAsync(all, TestContext.Current.CancellationToken);
        return all.ToArray();
    }

    private static Task<byte[]> BytesAsync(string path) => File.ReadAllBytesAsync(path, TestContext.Current.CancellationToken);
}
