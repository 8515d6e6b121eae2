using System.Text;
using Volant.Contracts.Manifests;
using Volant.Daemon.Hypervisors;

namespace Volant.EndToEnd;

/// <summary>Guests whose root file system is a disk. The image holds one static program and nothing else: no libc, no shell, no /proc.</summary>
public sealed class RootDiskTests : IDisposable
{
    private const long MaxResidentKb = 16_000_000 / 1024;

    private const string ManifestJson = """
        {"schema_version": "1.0", "name": "rooted", "version": "1", "runtime": "rooted", "resources": {"cpu_cores": 1, "memory_mb": 192},
         "workload": {"type": "http", "entrypoint": ["/app", "8080"], "base_url": "http://127.0.0.1:8080", "env": {"SECRET": "from the initramfs"}},
         "health_check": {"endpoint": "/healthy", "timeout_ms": 2000}, "rootfs": {"url": "/image", "format": "raw"}}
        """;

    private readonly string _directory = Directory.CreateTempSubdirectory("vt-r-").FullName;

    private string Image => Path.Combine(_directory, "image");

    private string Tree => Path.Combine(_directory, "tree");

    [Theory]
    [InlineData("ext4", false)]
    [InlineData("xfs", false)]
    [InlineData("btrfs", false)]
    [InlineData("squashfs", false)]
    [InlineData("ext4", true)]
    public async Task A_guest_runs_on_its_root_disk(string type, bool isReadOnly)
    {
        await MakeAsync(type);
        var isLayered = isReadOnly || type == "squashfs";

        await using (var guest = await BareGuest.StartAsync("volant.rootfs=/image", [new DiskSpec(Image, "raw", isReadOnly, "root")], ManifestReader.Read(Encoding.UTF8.GetBytes(ManifestJson))))
        {
            await guest.UntilAsync(state => state.Ready);

            Assert.Equal("hello from bare", await guest.SendAsync(HttpMethod.Get, "/"));
            Assert.Equal("from the initramfs", await guest.SendAsync(HttpMethod.Get, "/env/SECRET"));
            var mounts = await guest.SendAsync(HttpMethod.Get, "/read/proc/mounts");
            Assert.Contains(isLayered ? "root / overlay rw" : $"/dev/vda / {type} rw", mounts, StringComparison.Ordinal);
            foreach (var mount in new[] { "proc /proc proc", "sysfs /sys sysfs", "devtmpfs /dev devtmpfs", "devpts /dev/pts devpts", "tmpfs /dev/shm tmpfs", "tmpfs /run tmpfs", "tmpfs /tmp tmpfs", "cgroup2 /sys/fs/cgroup cgroup2" })
            {
                Assert.Single(mounts.Split('\n'), line => line.StartsWith(mount, StringComparison.Ordinal));
            }

            Assert.Equal("0::/workload\n", await guest.SendAsync(HttpMethod.Get, "/read/proc/self/cgroup"));
            Assert.Equal("0\n", await guest.SendAsync(HttpMethod.Get, "/read/proc/self/oom_score_adj"));
            Assert.Equal("-1000\n", await guest.SendAsync(HttpMethod.Get, "/read/proc/1/oom_score_adj"));
            var status = await guest.SendAsync(HttpMethod.Get, "/read/proc/1/status");
            var resident = status.Split('\n').Single(line => line.StartsWith("VmRSS:", StringComparison.Ordinal));
            Assert.InRange(long.Parse(resident["VmRSS:".Length..^" kB".Length]), 1, MaxResidentKb);
            Assert.Contains("127.0.1.1 bare\n", await guest.SendAsync(HttpMethod.Get, "/read/etc/hosts"), StringComparison.Ordinal);
            Assert.StartsWith("kestrel\0", await guest.SendAsync(HttpMethod.Get, "/read/proc/1/cmdline"), StringComparison.Ordinal);
            await guest.SendAsync(HttpMethod.Post, "/write/kept");
            await guest.SendAsync(HttpMethod.Post, "/v1/agent/shutdown");
            await guest.ExitAsync();
            Assert.DoesNotContain("FATAL", guest.Console, StringComparison.Ordinal);
            Assert.Contains("kestrel: power off", guest.Console, StringComparison.Ordinal);
        }

        await CheckAsync(type, wasWritten: !isLayered);
    }

    [Theory]
    [InlineData("ext4", "volant.boot=rootfs volant.rootfs_fstype=xfs", "cannot be mounted as xfs", "It holds ext4: set volant.rootfs_fstype=ext4")]
    [InlineData("none", "volant.rootfs_device=/dev/vda", "The root device /dev/vda holds no file system of these: ext4, xfs, btrfs, squashfs.", "")]
    public async Task A_root_disk_that_cannot_be_used_powers_off_after_saying_why(string type, string words, string reason, string hint)
    {
        await MakeAsync(type);

        await using var guest = await BareGuest.StartAsync(words, [new DiskSpec(Image, "raw", ReadOnly: false, "root")]);
        await guest.ExitAsync();

        var line = Assert.Single(guest.Console.Split('\n'), line => line.StartsWith("volant: boot failed: ", StringComparison.Ordinal));
        Assert.Contains(reason, line, StringComparison.Ordinal);
        Assert.Contains(hint, line, StringComparison.Ordinal);
    }

    /// <summary>QEMU brings a DHCP server of its own, which needs no network of the host and is shut off from it.</summary>
    [Fact]
    public async Task A_guest_gets_its_address_by_dhcp_and_tells_it()
    {
        await MakeAsync("ext4");
        string[] network = ["-netdev", "user,id=n0,restrict=on,net=10.9.8.0/24,dhcpstart=10.9.8.77,hostname=given", "-device", "virtio-net-device,netdev=n0,mac=02:00:5e:00:53:01"];

        await using var guest = await BareGuest.StartAsync("volant.rootfs=/image ip=dhcp", [new DiskSpec(Image, "raw", ReadOnly: false, "root")], ManifestReader.Read(Encoding.UTF8.GetBytes(ManifestJson)), network);
        var state = await guest.UntilAsync(state => state.Ready);

        Assert.Equal(["10.9.8.77"], state.Addresses!);
        Assert.Contains("address 10.9.8.77/24 from 10.9.8.2 by DHCP for 86400 s", guest.Console, StringComparison.Ordinal);
    }

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    private async Task MakeAsync(string type)
    {
        Directory.CreateDirectory(Tree);
        File.Copy(Workspace.TestWorkload, Path.Combine(Tree, "app"));
        await using (var image = File.Create(Image))
        {
            // xfs and btrfs refuse small disks; the file has holes.
            image.SetLength(type switch { "xfs" => 320L << 20, "btrfs" => 128L << 20, _ => 48L << 20 });
        }

        var proto = Path.Combine(_directory, "proto");
        await File.WriteAllTextAsync(proto, $"/none\n0 0\nd--755 0 0\napp ---755 0 0 {Path.Combine(Tree, "app")}\n$\n");
        await RunAsync(type switch
        {
            "ext4" => ["mke2fs", "-q", "-t", "ext4", "-E", "root_owner=0:0", "-d", Tree, Image],
            "xfs" => ["mkfs.xfs", "-q", "-p", proto, Image],
            "btrfs" => ["mkfs.btrfs", "-q", "--rootdir", Tree, Image],
            "squashfs" => ["mksquashfs", Tree, Image, "-quiet", "-no-progress", "-noappend", "-all-root"],
            _ => ["true"],
        });
    }

    /// <summary>The file system is clean, and holds what the guest wrote if it could.</summary>
    private async Task CheckAsync(string type, bool wasWritten)
    {
        string[] check = type switch
        {
            "ext4" => ["e2fsck", "-fn", Image],
            "xfs" => ["xfs_repair", "-n", Image],
            "btrfs" => ["btrfs", "check", "--readonly", Image],
            _ => ["unsquashfs", "-l", Image],
        };
        var checkedDisk = await RunAsync(check);
        Assert.DoesNotContain("recover", checkedDisk.Output + checkedDisk.Error, StringComparison.OrdinalIgnoreCase);
        if (type == "ext4")
        {
            var kept = await Command.RunAsync(["debugfs", "-R", "cat /kept", Image]);
            Assert.Equal(wasWritten ? "written by the guest\n" : string.Empty, kept.Output);
        }
    }

    private static async Task<CommandResult> RunAsync(string[] command)
    {
        var result = await Command.RunAsync(command);
        Assert.True(result.ExitCode == 0, result.ToString());
        return result;
    }
}
