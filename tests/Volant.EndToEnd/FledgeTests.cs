using System.Text.Json;
using Volant.Contracts;
using Volant.Contracts.Api;
using Volant.Contracts.Manifests;
using Volant.Daemon.Hypervisors;

namespace Volant.EndToEnd;

/// <summary>The built fledge: root disks from container images, and the guests that run on them.</summary>
public sealed class FledgeTests : IDisposable
{
    private static readonly TimeSpan BuildLimit = TimeSpan.FromSeconds(120);

    private readonly string _directory = Directory.CreateTempSubdirectory("vt-f-").FullName;

    [Theory]
    [InlineData("ext4")]
    [InlineData("squashfs")]
    [InlineData("xfs")]
    [InlineData("btrfs")]
    public async Task A_guest_runs_a_container_image_from_a_root_disk(string type)
    {
        var image = await TestImage.CreateAsync();
        await image.WriteLayoutAsync(Path.Combine(_directory, "image"));
        await File.WriteAllTextAsync(Path.Combine(_directory, "fledge.toml"), $"""
            version = "1"
            strategy = "oci_rootfs"
            [agent]
            source_strategy = "local"
            path = "{Workspace.Program("kestrel")}"
            [source]
            image = "oci:image"
            [filesystem]
            type = "{type}"
            """, TestContext.Current.CancellationToken);
        await File.WriteAllTextAsync(Path.Combine(_directory, "manifest.toml"), """
            schema_version = "1.0"
            name = "app"
            version = "1"
            [resources]
            cpu_cores = 1
            memory_mb = 192
            [workload]
            base_url = "http://127.0.0.1:8080"
            """, TestContext.Current.CancellationToken);
        if (type is "xfs" or "btrfs")
        {
            Assert.SkipUnless(Environment.IsPrivilegedProcess && await CanMountAsync(), $"a disk of type {type} is filled through a loop mount, which is not possible here");
        }

        var disk = await BuildAsync(_directory, "app");
        var manifest = ManifestReader.Read(await File.ReadAllBytesAsync(Path.Combine(_directory, "app.manifest.json"), TestContext.Current.CancellationToken));
        Assert.Equal(image.Digest, manifest.ImageDigest);
        Assert.Equal(["/usr/bin/app", "8080"], manifest.Workload!.Entrypoint);

        await using (var guest = await BareGuest.StartAsync("volant.rootfs=/image", [new DiskSpec(disk, "raw", ReadOnly: false, "root")], manifest))
        {
            await guest.UntilAsync(state => state.Ready);
            Assert.Equal("from the image", await guest.SendAsync(HttpMethod.Get, "/env/GREETING"));
            Assert.Equal("from the image\n", await guest.SendAsync(HttpMethod.Get, "/read/etc/again"));
            Assert.Contains(type == "squashfs" ? "root / overlay rw" : $"/dev/vda / {type} rw", await guest.SendAsync(HttpMethod.Get, "/read/proc/mounts"), StringComparison.Ordinal);

            // Who follows the log is told of its end, and who asks for the shutdown gets an answer.
            var following = guest.SendAsync(HttpMethod.Get, "/v1/logs/stream");
            await guest.SendAsync(HttpMethod.Post, "/v1/agent/shutdown");
            await following;
            await guest.ExitAsync();
            Assert.DoesNotContain("FATAL", guest.Console, StringComparison.Ordinal);
        }

        await CheckAsync(type, disk);
    }

    [Theory]
    [InlineData("ext4")]
    [InlineData("squashfs")]
    public async Task A_guest_finds_every_odd_file_as_the_image_has_it(string type)
    {
        const string Busybox = "/bin/busybox";
        const long BigBytes = 700L << 20;
        Assert.SkipUnless(File.Exists(Busybox), "no static busybox: scripts/deps.sh run");
        var odd = new OddTree();
        var image = await TestImage.CreateAsync(odd.WriteAsync);
        await image.WriteLayoutAsync(Path.Combine(_directory, "image"));
        using (var big = File.OpenHandle(Path.Combine(_directory, "big"), FileMode.Create, FileAccess.ReadWrite))
        {
            // More than four extents of 128 MiB, so that they have a block of their own.
            RandomAccess.SetLength(big, BigBytes);
            foreach (var at in (long[])[0, 128 << 20, 513 << 20, BigBytes - 7])
            {
                RandomAccess.Write(big, "a mark\n"u8, at);
            }
        }

        await File.WriteAllTextAsync(Path.Combine(_directory, "fledge.toml"), $"""
            version = "1"
            strategy = "oci_rootfs"
            [agent]
            source_strategy = "local"
            path = "{Workspace.Program("kestrel")}"
            [source]
            image = "oci:image"
            [filesystem]
            type = "{type}"
            [mappings]
            "{Busybox}" = "/bin/busybox"
            "big" = "/big"
            """, TestContext.Current.CancellationToken);
        var disk = await BuildAsync(_directory, "odd");
        var manifest = ManifestReader.Read(await File.ReadAllBytesAsync(Path.Combine(_directory, "odd.manifest.json"), TestContext.Current.CancellationToken));

        await using (var guest = await BareGuest.StartAsync("volant.rootfs=/image", [new DiskSpec(disk, "raw", ReadOnly: false, "root")], manifest))
        {
            await guest.UntilAsync(state => state.Ready);
            Assert.Equal(string.Empty, await ShellAsync(guest, "/bin/busybox mkdir /tools && /bin/busybox --install -s /tools"));
            var found = (await ShellAsync(guest, OddTree.Script)).Split('\n', StringSplitOptions.RemoveEmptyEntries).Order(StringComparer.Ordinal);
            Assert.Equal(odd.Expected, found);
            Assert.Equal("a mark\n", await ShellAsync(guest, "dd if=/big bs=4096 skip=0 count=1 | head -c 7"));
            Assert.Equal("a mark\n", await ShellAsync(guest, "dd if=/big bs=4096 skip=32768 count=1 | head -c 7"));
            Assert.Equal("a mark\n", await ShellAsync(guest, "dd if=/big bs=4096 skip=131328 count=1 | head -c 7"));
            Assert.Equal("a mark\n", await ShellAsync(guest, "tail -c 7 /big"));

            // What a guest writes goes into the free space, and the checker looks at it afterwards; or into memory, of which there is less.
            var copies = type == "squashfs" ? "1 2 3" : "1 2 3 4 5 6 7 8 9";
            Assert.Equal(string.Empty, await ShellAsync(guest, $"rm -r /odd/many && mkdir /odd/new && for i in {copies}; do cp /odd/noise /odd/new/$i || exit 1; done; rm /odd/new/3; sync"));
            await guest.SendAsync(HttpMethod.Post, "/v1/agent/shutdown");
            await guest.ExitAsync();
            Assert.DoesNotContain("FATAL", guest.Console, StringComparison.Ordinal);
        }

        await CheckAsync(type, disk);
    }

    [Theory]
    [InlineData("ext4")]
    [InlineData("squashfs")]
    public async Task Somebody_who_is_not_root_gets_the_same_disk(string type)
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "only root can become somebody else");
        var image = await TestImage.CreateAsync(new OddTree().WriteAsync);
        await image.WriteLayoutAsync(Path.Combine(_directory, "image"));
        await File.WriteAllTextAsync(Path.Combine(_directory, "fledge.toml"), $"version = \"1\"\nstrategy = \"oci_rootfs\"\n[source]\nimage = \"oci:image\"\n[filesystem]\ntype = \"{type}\"\n", TestContext.Current.CancellationToken);
        var theirs = Directory.CreateDirectory(Path.Combine(_directory, "theirs")).FullName;
        File.SetUnixFileMode(_directory, (UnixFileMode)0x1ED);
        File.SetUnixFileMode(theirs, (UnixFileMode)0x1FF);
        foreach (var program in new[] { "fledge", "kestrel" })
        {
            // The checkout may lie where others may not look.
            await Workspace.InstallAsync(Workspace.Program(program), Path.Combine(_directory, program));
        }

        var mine = await BuildAsync(_directory, "mine");
        var run = await Command.RunAsync(
            ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs", Path.Combine(_directory, "fledge"), "build", _directory, "--output", Path.Combine(theirs, "mine")],
            BuildLimit,
            new Dictionary<string, string>(StringComparer.Ordinal) { ["HOME"] = theirs });

        Assert.True(run.ExitCode == 0, run.ToString());
        var their = Path.Combine(theirs, "mine.img");
        if (type == "ext4")
        {
            Assert.Equal(await File.ReadAllBytesAsync(mine, TestContext.Current.CancellationToken), await File.ReadAllBytesAsync(their, TestContext.Current.CancellationToken));
            return;
        }

        // mksquashfs puts the id of whoever runs it into its table, used or not.
        var (expected, found) = (await Command.RunAsync(["unsquashfs", "-lln", mine]), await Command.RunAsync(["unsquashfs", "-lln", their]));
        Assert.Equal(0, expected.ExitCode);
        Assert.Equal(expected.Output, found.Output);
    }

    [Fact]
    public async Task A_terminal_sees_how_far_the_build_is_and_nothing_of_it_is_left()
    {
        Assert.SkipUnless(File.Exists("/usr/bin/script"), "no program 'script' to make a terminal with");
        await (await TestImage.CreateAsync()).WriteLayoutAsync(Path.Combine(_directory, "image"));

        var run = await Command.RunAsync(
            ["script", "-qec", $"{Workspace.Program("fledge")} build oci:{_directory}/image --output {_directory}/x", "/dev/null"], BuildLimit, Variables());

        Assert.True(run.ExitCode == 0, run.ToString());
        Assert.Matches(@"\runpacking +\[#*\.*\] [0-9.]+ of [0-9.]+ MiB", run.Output);
        Assert.Matches(@"\rchecksum +\[#*\.*\]", run.Output);
        Assert.Contains("\r\u001b[Kartifact", run.Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_registry_that_asks_for_a_password_gets_the_one_that_was_stored_for_it()
    {
        await using var registry = await TestRegistry.StartAsync(hasPassword: true);
        var image = await TestImage.CreateAsync();
        await image.PushAsync(registry.Address, "team/app", "1.0", TestRegistry.Credentials);
        var reference = $"docker://{registry.Address.Authority}/team/app:1.0";
        var config = Directory.CreateDirectory(Path.Combine(_directory, "config", "containers")).FullName;
        var variables = new Dictionary<string, string>(Variables(Path.Combine(_directory, "cache")), StringComparer.Ordinal) { ["HOME"] = _directory, ["XDG_CONFIG_HOME"] = Path.Combine(_directory, "config") };

        var refused = await InspectAsync();
        await File.WriteAllTextAsync(Path.Combine(config, "auth.json"), $$"""
            {"auths": {"{{registry.Address.Authority}}": {"auth": "d3Jvbmc6d3Jvbmc="}, "{{registry.Address.Authority}}/team": {"auth": "{{Convert.ToBase64String(System.Text.Encoding.UTF8.GetBytes(TestRegistry.Credentials))}}"} } }
            """, TestContext.Current.CancellationToken);
        var read = await InspectAsync();

        Assert.Equal(1, refused.ExitCode);
        Assert.Contains("(401)", refused.Error, StringComparison.Ordinal);
        Assert.True(read.ExitCode == 0, read.ToString());
        Assert.Contains(image.Digest, read.Output, StringComparison.Ordinal);

        Task<CommandResult> InspectAsync() => Command.RunAsync([Workspace.Program("fledge"), "inspect", reference], BuildLimit, variables);
    }

    [Fact]
    public async Task An_image_of_a_real_registry_gives_the_same_disk_every_time_and_is_fetched_once()
    {
        await using var registry = await TestRegistry.StartAsync();
        var image = await TestImage.CreateAsync();
        await image.PushAsync(registry.Address, "team/app", "1.0");
        var reference = $"docker://{registry.Address.Authority}/team/app:1.0";

        var first = await File.ReadAllBytesAsync(await BuildAsync(reference, "first"), TestContext.Current.CancellationToken);
        var inspected = await RunAsync("inspect", reference, "--json");
        await registry.DisposeAsync();
        var offline = await Command.RunAsync([Workspace.Program("fledge"), "build", reference, "--output", Path.Combine(_directory, "offline")], BuildLimit, Variables());

        Assert.Contains(image.Digest, inspected.Output, StringComparison.Ordinal);
        Assert.Contains("8080/tcp", inspected.Output, StringComparison.Ordinal);
        Assert.Equal(1, offline.ExitCode);
        Assert.Contains("Cannot fetch", offline.Error, StringComparison.Ordinal);
        await image.WriteLayoutAsync(Path.Combine(_directory, "image"));
        Assert.Equal(first, await File.ReadAllBytesAsync(await BuildAsync($"oci:{Path.Combine(_directory, "image")}", "second"), TestContext.Current.CancellationToken));
        await CheckAsync("ext4", Path.Combine(_directory, "first.img"));
    }

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    private static Dictionary<string, string> Variables(string? home = null) => new(StringComparer.Ordinal) { ["FLEDGE_AGENT"] = Workspace.Program("kestrel"), ["XDG_CACHE_HOME"] = home ?? "/nonexistent" };

    private async Task<string> BuildAsync(string what, string name)
    {
        await RunAsync("build", what, "--output", Path.Combine(_directory, name));
        return Path.Combine(_directory, $"{name}.img");
    }

    private async Task<CommandResult> RunAsync(params string[] arguments)
    {
        var run = await Command.RunAsync([Workspace.Program("fledge"), .. arguments], BuildLimit, Variables(Path.Combine(_directory, "cache")));
        Assert.True(run.ExitCode == 0, run.ToString());
        return run;
    }

    private async Task<bool> CanMountAsync()
    {
        var (image, point) = (Path.Combine(_directory, "probe.img"), Directory.CreateDirectory(Path.Combine(_directory, "probe")).FullName);
        await File.WriteAllBytesAsync(image, new byte[1 << 20], TestContext.Current.CancellationToken);
        await Command.RunAsync(["mke2fs", "-q", image]);
        var mounted = await Command.RunAsync(["mount", "-o", "loop", image, point]);
        return mounted.ExitCode == 0 && (await Command.RunAsync(["umount", "--lazy", point])).ExitCode == 0;
    }

    /// <summary>Runs a script in the guest with busybox, which must succeed, and returns what it printed.</summary>
    private static async Task<string> ShellAsync(BareGuest guest, string script)
    {
        var request = new ExecRequest { Command = ["/bin/busybox", "sh", "-c", script], Env = new Dictionary<string, string>(StringComparer.Ordinal) { ["PATH"] = "/tools" }, TimeoutMs = 120_000 };
        var answer = await guest.SendAsync(HttpMethod.Post, "/v1/agent/exec", JsonSerializer.Serialize(request, ContractsJson.Default.ExecRequest));
        var result = JsonSerializer.Deserialize(answer, ContractsJson.Default.ExecResult)!;
        Assert.True(result is { ExitCode: 0, Truncated: false }, answer);
        return result.Stdout;
    }

    private static async Task CheckAsync(string type, string disk)
    {
        var check = await Command.RunAsync(type switch
        {
            "ext4" => ["e2fsck", "-fn", disk],
            "xfs" => ["xfs_repair", "-n", disk],
            "btrfs" => ["btrfs", "check", "--readonly", disk],
            _ => ["unsquashfs", "-s", disk],
        });
        Assert.True(check.ExitCode == 0, check.ToString());
        Assert.DoesNotContain("recover", check.Output + check.Error, StringComparison.OrdinalIgnoreCase);
    }
}
