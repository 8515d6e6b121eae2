using System.Net;
using Volant.Agent.Boot;
using Volant.Agent.Power;
using Volant.Contracts.Boot;
using Volant.Linux.IO;
using Volant.Linux.Kernel;
using Volant.Tests.Linux;

namespace Volant.Tests.Agent;

/// <summary>The pieces of the boot that need no guest.</summary>
public sealed class RootTests
{
    [Theory]
    [InlineData("", null)]
    [InlineData("volant.boot=auto", null)]
    [InlineData("volant.boot=initramfs volant.rootfs=x volant.rootfs_device=vdb", null)]
    [InlineData("volant.rootfs=x", "vda")]
    [InlineData("volant.rootfs= volant.rootfs_device=", null)]
    [InlineData("volant.boot=auto volant.rootfs_device=vdb1", "vdb1")]
    [InlineData("volant.boot=rootfs", "vda")]
    [InlineData("volant.boot=rootfs volant.rootfs_device=/dev/vdc", "/dev/vdc")]
    public void A_root_disk_is_used_when_the_boot_names_one(string line, string? device)
    {
        var plan = BootPlan.Read(line);

        Assert.Equal(device, plan.Root?.Device);
        Assert.Empty(plan.Problems);
    }

    [Fact]
    public void An_unknown_boot_path_is_said_and_read_as_auto()
    {
        var plan = BootPlan.Read("volant.boot=disk volant.rootfs=x volant.rootfs_fstype=xfs");

        Assert.Contains("volant.boot=disk", Assert.Single(plan.Problems), StringComparison.Ordinal);
        Assert.Equal(new RootPlan("vda", "xfs"), plan.Root);
    }

    [Theory]
    [InlineData("ip=dhcp", null, null)]
    [InlineData("ip=::::web:eth1:dhcp", "web", "eth1")]
    public void Dhcp_is_planned(string line, string? hostname, string? device)
    {
        var network = BootPlan.Read(line).Network;

        Assert.Equal((true, hostname, device), (network!.Dhcp, network.Hostname, network.Device));
        Assert.Equal(line, $"ip={network}");
    }

    [Theory]
    [InlineData("ext4", 1024 + 56, new byte[] { 0x53, 0xef })]
    [InlineData("xfs", 0, new[] { (byte)'X', (byte)'F', (byte)'S', (byte)'B' })]
    [InlineData("btrfs", 0x10040, new[] { (byte)'_', (byte)'B', (byte)'H', (byte)'R', (byte)'f', (byte)'S', (byte)'_', (byte)'M' })]
    [InlineData("squashfs", 0, new[] { (byte)'h', (byte)'s', (byte)'q', (byte)'s' })]
    public void A_file_system_is_known_by_its_first_bytes(string name, int at, byte[] magic)
    {
        var start = new byte[RootFileSystem.ProbeLength];
        Assert.Null(RootFileSystem.Detect(start));
        magic.CopyTo(start, at);

        Assert.Equal(name, RootFileSystem.Detect(start)?.Name);
        Assert.Null(RootFileSystem.Detect(start.AsSpan(0, at)));
        Assert.Contains(name, GuestModules.RootFileSystems);
    }

    [Fact]
    public void Mount_points_are_made_links_are_left_and_files_are_refused()
    {
        using var root = new TemporaryDirectory();
        File.CreateSymbolicLink(root["run"], "/var/run");

        Assert.True(RootDisk.MakeMountPoints(root.Path));

        Assert.Equal(["dev", "proc", "run", "sys", "tmp"], Directory.GetFileSystemEntries(root.Path).Select(path => Path.GetFileName(path)!).Order(StringComparer.Ordinal));
        Assert.Equal(0b1_111_111_111, LinkStatus.Find(root["tmp"])!.Value.Mode);
        Directory.Delete(root["sys"]);
        File.WriteAllText(root["sys"], string.Empty);
        Assert.Contains("/sys", Assert.Throws<BootFailedException>(() => RootDisk.MakeMountPoints(root.Path)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_tree_is_deleted_but_for_one_file_other_file_systems_and_where_links_lead() => NetworkNamespace.Run(NamespaceKinds.Mount, () =>
    {
        using var root = new TemporaryDirectory();
        using var elsewhere = new TemporaryDirectory();
        File.WriteAllText(elsewhere["kept"], string.Empty);
        Directory.CreateDirectory(root["a/b"]);
        Directory.CreateDirectory(root["mounted"]);
        File.WriteAllText(root["a/agent"], string.Empty);
        File.WriteAllText(root["a/b/c"], string.Empty);
        File.CreateSymbolicLink(root["link"], elsewhere.Path);
        Mounts.Mount(null, "/", null, MountOptions.Private | MountOptions.Recursive);
        Mounts.Mount("test", root["mounted"], "tmpfs");
        File.WriteAllText(root["mounted/kept"], string.Empty);

        RootSwitch.DeleteTree(root.Path, LinkStatus.Find(root.Path)!.Value.FileSystem, root["a/agent"]);

        Assert.Equal([root["a"], root["mounted"]], Directory.GetFileSystemEntries(root.Path).Order(StringComparer.Ordinal));
        Assert.Equal([root["a/agent"]], Directory.GetFileSystemEntries(root["a"]));
        Assert.True(File.Exists(root["mounted/kept"]));
        Assert.True(File.Exists(elsewhere["kept"]));
        Mounts.Unmount(root["mounted"]);
    });

    [Fact]
    public void Only_pid_1_of_an_initramfs_may_leave_it() => Assert.Throws<InvalidOperationException>(() => RootSwitch.Enter("/nowhere", null, []));

    [Fact]
    public void Files_that_are_missing_empty_or_links_to_nowhere_are_written_and_others_stay()
    {
        using var etc = new TemporaryDirectory();
        var files = new GuestFiles(etc.Path);
        File.WriteAllText(etc["hosts"], string.Empty);
        File.CreateSymbolicLink(etc["resolv.conf"], "../run/none/stub");

        files.WriteHosts("web");
        files.WriteLease([IPAddress.Parse("10.1.0.1")], "example.org");
        files.WriteLease([IPAddress.Parse("10.1.0.2")], null);

        Assert.Contains("127.0.1.1 web\n", File.ReadAllText(etc["hosts"]), StringComparison.Ordinal);
        Assert.Equal("# by DHCP\nnameserver 10.1.0.2\n", File.ReadAllText(etc["resolv.conf"]));
        File.WriteAllText(etc["resolv.conf"], "nameserver 1.1.1.1\n");
        files.WriteLease([IPAddress.Parse("10.1.0.3")], null);
        files.WriteResolver([IPAddress.Parse("10.1.0.3")]);
        files.WriteHosts("other");
        Assert.Equal("nameserver 1.1.1.1\n", File.ReadAllText(etc["resolv.conf"]));
        Assert.DoesNotContain("other", File.ReadAllText(etc["hosts"]), StringComparison.Ordinal);
    }

    [Fact]
    public void The_agent_and_its_children_get_groups_of_their_own()
    {
        using var tree = new TemporaryDirectory();
        var (root, proc) = (Directory.CreateDirectory(tree["cgroup"]).FullName, Directory.CreateDirectory(tree["proc/self"]).Parent!.FullName);
        Directory.CreateDirectory(tree["proc/77"]);
        Directory.CreateDirectory(tree["cgroup/agent"]);
        Directory.CreateDirectory(tree["cgroup/workload"]);
        Directory.CreateDirectory(tree["proc/sys/kernel"]);
        foreach (var file in new[] { "proc/self/oom_score_adj", "proc/77/oom_score_adj", "cgroup/cgroup.controllers", "cgroup/cgroup.subtree_control", "cgroup/agent/cgroup.procs", "cgroup/agent/cpu.weight", "cgroup/workload/cgroup.procs", "cgroup/workload/pids.max", "cgroup/workload/memory.max" })
        {
            File.WriteAllText(tree[file], string.Empty);
        }

        File.WriteAllText(tree["proc/sys/kernel/threads-max"], "1000\n");
        File.WriteAllText(tree["proc/meminfo"], "MemTotal:         131072 kB\nMemAvailable:      65536 kB\n");
        var groups = new ControlGroups(root, proc);

        Assert.Empty(groups.SetUp());
        groups.Place(77);

        Assert.Equal("-1000", File.ReadAllText(tree["proc/self/oom_score_adj"]));
        Assert.Equal("0", File.ReadAllText(tree["proc/77/oom_score_adj"]));
        Assert.Equal($"{Environment.ProcessId}", File.ReadAllText(tree["cgroup/agent/cgroup.procs"]));
        Assert.Equal("77", File.ReadAllText(tree["cgroup/workload/cgroup.procs"]));
        Assert.Equal("900", File.ReadAllText(tree["cgroup/workload/pids.max"]));
        Assert.Equal($"{48 << 20}", File.ReadAllText(tree["cgroup/workload/memory.max"]));
        Assert.Equal("1000", File.ReadAllText(tree["cgroup/agent/cpu.weight"]));
    }

    [Fact]
    public void Without_control_groups_only_the_memory_killer_is_told()
    {
        using var tree = new TemporaryDirectory();
        Directory.CreateDirectory(tree["proc/self"]);
        File.WriteAllText(tree["proc/self/oom_score_adj"], string.Empty);
        var groups = new ControlGroups(tree["cgroup"], tree["proc"]);

        Assert.Empty(groups.SetUp());
        groups.Place(77);

        Assert.Equal("-1000", File.ReadAllText(tree["proc/self/oom_score_adj"]));
        Assert.False(Directory.Exists(tree["cgroup"]));
    }

    [Fact]
    public void The_last_reason_on_the_console_is_the_one()
    {
        Assert.Null(BootFailure.Find(["kestrel: power off"]));
        Assert.Equal("b", BootFailure.Find(["volant: boot failed: a", "x", BootFailure.Line("b"), "y volant: boot failed: c"]));
        Assert.Equal("volant: boot failed: a | b", BootFailure.Line("a\nb"));
    }

    [Theory]
    [InlineData(15, 0)]
    [InlineData(10, 0)]
    [InlineData(12, 0)]
    [InlineData(30, 0)]
    [InlineData(38, 0)]
    [InlineData(2, 1)]
    [InlineData(39, 1)]
    public void Signals_mean_what_the_usual_commands_expect(int signal, int action)
    {
        var told = new List<PowerAction>();
        SignalRoutes.Route(signal, (what, _) => told.Add(what), _ => Assert.Fail("forwarded"));

        Assert.Equal((PowerAction)action, Assert.Single(told));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    public void Other_signals_are_the_workloads(int signal)
    {
        var told = new List<int>();
        SignalRoutes.Route(signal, (_, _) => Assert.Fail("shut down"), told.Add);

        Assert.Equal([signal], told);
    }
}
