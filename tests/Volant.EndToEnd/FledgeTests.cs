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
            await guest.SendAsync(HttpMethod.Post, "/v1/agent/shutdown");
            await guest.ExitAsync();
            Assert.DoesNotContain("FATAL", guest.Console, StringComparison.Ordinal);
        }

        await CheckAsync(type, disk);
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
        return mounted.ExitCode == 0 && (await Command.RunAsync(["umount", point])).ExitCode == 0;
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
