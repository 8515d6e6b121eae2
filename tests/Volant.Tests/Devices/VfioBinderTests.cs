using Volant.Contracts.Api;
using Volant.Daemon;
using Volant.Daemon.Devices;
using Volant.Linux.Networking;

namespace Volant.Tests.Devices;

/// <summary>Binding on a tree that looks like sysfs, with a stand-in for the kernel (C20).</summary>
public sealed class VfioBinderTests : IDisposable
{
    private const string Nic = "0000:01:00.0";
    private const string Twin = "0000:01:00.1";

    private readonly string _root = Directory.CreateTempSubdirectory("volant-vfio-").FullName;
    private readonly FakeHost _host;

    public VfioBinderTests() => _host = new FakeHost(Path.Combine(_root, "host"));

    public void Dispose() => Directory.Delete(_root, recursive: true);

    [Fact]
    public void A_device_is_bound_by_its_override_and_given_back_with_the_override_that_it_had()
    {
        _host.AddDevice(Nic, group: 7);
        _host.Set(Nic, "driver_override", "e1000e\n");

        _host.Binder.Bind(Plan(Nic).Devices);

        Assert.Equal("vfio-pci", _host.DriverOf(Nic));
        Assert.Equal("/dev/vfio/7", VfioBinder.GroupPath(7));
        Assert.True(File.Exists(Path.Combine(_host.Root, "dev/vfio/7")));
        Assert.True(_host.Binder.Restore(PciAddress.Parse(Nic), "e1000e", "e1000e"));
        Assert.Equal(("e1000e", "e1000e"), (_host.DriverOf(Nic), _host.OverrideOf(Nic)));
        Assert.DoesNotContain(_host.Writes, write => write.StartsWith("new_id", StringComparison.Ordinal));
    }

    [Fact]
    public void Giving_back_twice_or_what_was_never_bound_changes_nothing()
    {
        _host.AddDevice(Nic, group: 7);
        _host.Binder.Bind(Plan(Nic).Devices);
        _host.Binder.Restore(PciAddress.Parse(Nic), "e1000e", null);
        _host.Writes.Clear();

        Assert.True(_host.Binder.Restore(PciAddress.Parse(Nic), "e1000e", null));
        Assert.True(_host.Binder.Restore(PciAddress.Parse("0000:77:00.0"), "e1000e", null));
        Assert.Empty(_host.Writes);
    }

    [Fact]
    public void A_device_that_had_no_driver_has_none_afterwards()
    {
        _host.AddDevice(Nic, group: 7, driver: null);
        _host.Binder.Bind(Plan(Nic).Devices);

        Assert.True(_host.Binder.Restore(PciAddress.Parse(Nic), null, null));
        Assert.Null(_host.DriverOf(Nic));
    }

    [Fact]
    public void A_device_that_was_on_vfio_before_stays_there()
    {
        _host.AddDevice(Nic, group: 7, driver: VfioBinder.Driver);
        _host.Binder.Bind(Plan(Nic).Devices);

        Assert.True(_host.Binder.Restore(PciAddress.Parse(Nic), VfioBinder.Driver, null));
        Assert.Equal(VfioBinder.Driver, _host.DriverOf(Nic));
        Assert.Empty(_host.Writes);
    }

    [Fact]
    public void A_group_is_taken_as_a_whole_and_its_bridges_stay()
    {
        _host.AddDevice(Nic, group: 7);
        _host.AddDevice(Twin, group: 7, driver: "snd_hda_intel", id: "8086:0001", @class: "0x040300");
        _host.AddDevice("0000:00:01.0", group: 7, driver: "pcieport", id: "8086:0002", @class: "0x060400");

        var plan = Plan(Nic);

        Assert.Empty(plan.Faults);
        Assert.Equal([Nic, Twin], plan.Devices.Select(device => device.Address.ToString()));
    }

    [Theory]
    [InlineData("0x040300", "snd_hda_intel")]
    [InlineData("0x060100", "lpc_ich")]
    public void A_group_with_a_foreign_device_is_refused(string @class, string driver)
    {
        _host.AddDevice(Nic, group: 7);
        _host.AddDevice(Twin, group: 7, driver, id: "1022:0001", @class);

        AssertFault(ErrorCodes.DeviceNotAllowed, $"shares IOMMU group 7 with {Twin} (1022:0001)", Plan(Nic));
    }

    [Fact]
    public void A_member_of_a_group_that_is_no_PCI_device_is_foreign()
    {
        _host.AddDevice(Nic, group: 7);
        File.WriteAllText(Path.Combine(_host.Root, "sys/kernel/iommu_groups/7/devices/soc:dma"), string.Empty);

        AssertFault(ErrorCodes.DeviceNotAllowed, "soc:dma", Plan(Nic));
    }

    [Fact]
    public void Nothing_may_be_bound_unless_the_operator_says_so_and_a_caller_can_only_narrow_it()
    {
        _host.AddDevice(Nic, group: 7);
        PciAddress[] wanted = [PciAddress.Parse(Nic)];

        AssertFault(ErrorCodes.DeviceNotAllowed, "VOLANT_VFIO_ALLOW", _host.Binder.Plan(wanted, [], ["8086:*"]));
        AssertFault(ErrorCodes.DeviceNotAllowed, "VOLANT_VFIO_ALLOW", _host.Binder.Plan(wanted, ["8086:10d4", "0000:01:00.1"], ["8086:10d3"]));
        AssertFault(ErrorCodes.DeviceNotAllowed, "allowlist of the request", _host.Binder.Plan(wanted, ["8086:*"], ["10de:*"]));
        Assert.All((string[])["8086:10d3", "8086:*", Nic], entry => Assert.Empty(_host.Binder.Plan(wanted, [entry], []).Faults));
    }

    [Fact]
    public void The_boot_display_is_refused()
    {
        _host.AddDevice(Nic, group: 7, driver: "i915", @class: "0x030000");
        _host.Set(Nic, "boot_vga", "1\n");

        AssertFault(ErrorCodes.DeviceInUse, "boot display", Plan(Nic));
    }

    [Fact]
    public void A_bridge_is_refused()
    {
        _host.AddDevice(Nic, group: 7, driver: "pcieport", @class: "0x060400");

        AssertFault(ErrorCodes.Unsupported, "bridge", Plan(Nic));
    }

    [Theory]
    [InlineData("mounted", "is mounted at '/srv/data'")]
    [InlineData("by-name", "is mounted at '/srv/data'")]
    [InlineData("swap", "is used as swap")]
    [InlineData("held", "which 'dm-0' uses")]
    public void A_controller_whose_disk_is_in_use_is_refused(string how, string words)
    {
        _host.AddDevice(Nic, group: 7, driver: "ahci", @class: "0x010601");
        var disk = _host.AddChild(Nic, "ata1/host0/target0:0:0/0:0:0:0/block/sda", "block");
        var partition = _host.AddChild(Nic, "ata1/host0/target0:0:0/0:0:0:0/block/sda/sda1", "block");
        File.WriteAllText($"{disk}/dev", "8:0\n");
        File.WriteAllText($"{partition}/dev", "8:1\n");
        Assert.Empty(Plan(Nic).Faults);

        switch (how)
        {
            case "mounted":
                _host.Write("proc/self/mountinfo", "30 22 8:1 / /srv/data rw shared:1 - ext4 /dev/mapper/x rw\n");
                break;
            case "by-name":
                _host.Write("proc/self/mountinfo", "30 22 0:44 / /srv/data rw shared:1 - btrfs /dev/sda1 rw\n");
                break;
            case "swap":
                _host.Write("proc/swaps", "Filename\tType\tSize\n/dev/sda1                              partition\t1048572\n");
                break;
            default:
                Directory.CreateDirectory($"{partition}/holders/dm-0");
                break;
        }

        AssertFault(ErrorCodes.DeviceInUse, words, Plan(Nic));
        Assert.Throws<VolantException>(() => _host.Binder.Bind([_host.Bus.FindDevice(PciAddress.Parse(Nic))!]));
        Assert.Empty(_host.Writes);
    }

    [Fact]
    public void One_path_to_an_NVMe_disk_counts_as_the_disk()
    {
        _host.AddDevice(Nic, group: 7, driver: "nvme", @class: "0x010802");
        File.WriteAllText(_host.AddChild(Nic, "nvme/nvme0/nvme0c1n1", "block") + "/dev", "0:0\n");
        _host.Write("proc/self/mountinfo", "30 22 259:0 / /srv rw - xfs /dev/nvme0n1 rw\n");

        AssertFault(ErrorCodes.DeviceInUse, "nvme0n1", Plan(Nic));
    }

    [Fact]
    public void A_network_interface_that_is_up_or_enslaved_or_elsewhere_is_refused()
    {
        _host.AddDevice(Nic, group: 7);
        var card = _host.AddChild(Nic, "virtio0/net/vtestnic0", "net");
        File.WriteAllText($"{card}/flags", "0x1002\n");
        Assert.Empty(Plan(Nic).Faults);

        File.WriteAllText($"{card}/flags", "0x1003\n");
        AssertFault(ErrorCodes.DeviceInUse, "'vtestnic0', which is up", Plan(Nic));

        File.WriteAllText($"{card}/flags", "0x1002\n");
        Directory.CreateSymbolicLink($"{card}/master", "/sys/class/net/bond0");
        AssertFault(ErrorCodes.DeviceInUse, "belongs to 'bond0'", Plan(Nic));

        Directory.Delete(card, recursive: true);
        AssertFault(ErrorCodes.DeviceInUse, "another network namespace", Plan(Nic));
    }

    [Fact]
    public void A_network_interface_with_an_address_is_refused()
    {
        using var netlink = Netlink.Open();
        var link = netlink.ListLinks().FirstOrDefault(link => netlink.ListAddresses(link.Index).Count > 0);
        Assert.SkipWhen(link is null, "no interface of this machine has an address");
        _host.AddDevice(Nic, group: 7);
        File.WriteAllText(_host.AddChild(Nic, $"net/{link.Name}", "net") + "/flags", "0x1002\n");

        AssertFault(ErrorCodes.DeviceInUse, "has the address", Plan(Nic));
    }

    [Fact]
    public void A_device_with_virtual_functions_is_refused()
    {
        _host.AddDevice(Nic, group: 7);
        _host.Set(Nic, "sriov_numvfs", "4\n");

        AssertFault(ErrorCodes.DeviceInUse, "4 virtual functions", Plan(Nic));
    }

    [Fact]
    public void A_host_without_IOMMU_or_driver_is_told_what_is_missing()
    {
        _host.AddDevice(Nic, group: null);
        AssertFault(ErrorCodes.Unsupported, "no IOMMU", Plan(Nic));

        _host.AddDevice("0000:02:00.0", group: 1);
        AssertFault(ErrorCodes.Unsupported, "not guarded by an IOMMU", Plan(Nic));

        var bare = new FakeHost(Path.Combine(_root, "bare"), vfio: false);
        bare.AddDevice(Nic, group: 7);
        AssertFault(ErrorCodes.Unsupported, "modprobe vfio-pci", bare.Binder.Plan([PciAddress.Parse(Nic)], ["8086:*"], []));
    }

    [Fact]
    public void A_group_that_only_pretends_to_be_guarded_is_none()
    {
        _host.AddDevice(Nic, group: 7);
        _host.Write("sys/kernel/iommu_groups/7/name", "vfio-noiommu\n");

        AssertFault(ErrorCodes.Unsupported, "not guarded by an IOMMU", Plan(Nic));
    }

    [Fact]
    public void What_fails_half_way_is_undone()
    {
        _host.AddDevice(Nic, group: 7);
        _host.AddDevice(Twin, group: 7, driver: "igb");
        _host.Refusals.Add((VfioBinder.Driver, Twin));

        var failure = Assert.Throws<VolantException>(() => _host.Binder.Bind(Plan(Nic).Devices));

        Assert.Equal(ErrorCodes.DeviceUnavailable, failure.Code);
        Assert.Contains(Twin, failure.Message, StringComparison.Ordinal);
        Assert.Equal(("e1000e", "igb"), (_host.DriverOf(Nic), _host.DriverOf(Twin)));
        Assert.Equal((null, null), (_host.OverrideOf(Nic), _host.OverrideOf(Twin)));
    }

    [Fact]
    public void A_kernel_that_refuses_a_write_is_quoted_and_the_rest_is_undone()
    {
        _host.AddDevice(Nic, group: 7);
        _host.AddDevice(Twin, group: 7);
        var plan = Plan(Nic);
        File.Delete(Path.Combine(_host.Bus.PathOf(PciAddress.Parse(Twin)), "driver_override"));

        var failure = Assert.Throws<VolantException>(() => _host.Binder.Bind(plan.Devices));

        Assert.Equal(ErrorCodes.DeviceUnavailable, failure.Code);
        Assert.Contains("driver_override", failure.Message, StringComparison.Ordinal);
        Assert.Equal(("e1000e", "e1000e"), (_host.DriverOf(Nic), _host.DriverOf(Twin)));
    }

    [Fact]
    public void A_driver_that_does_not_take_its_device_back_is_told()
    {
        _host.AddDevice(Nic, group: 7);
        _host.Binder.Bind(Plan(Nic).Devices);
        _host.Refusals.Add(("e1000e", Nic));

        Assert.False(_host.Binder.Restore(PciAddress.Parse(Nic), "e1000e", null));
        Assert.Null(_host.DriverOf(Nic));
        Assert.Null(_host.OverrideOf(Nic));
    }

    [Theory]
    [InlineData("vendor", "")]
    [InlineData("vendor", "8086")]
    [InlineData("vendor", "0x80861")]
    [InlineData("device", "0x../")]
    [InlineData("class", "0x02")]
    public void What_the_kernel_never_writes_is_not_believed(string attribute, string text)
    {
        _host.AddDevice(Nic, group: 7);
        _host.Set(Nic, attribute, text);

        Assert.Equal(ErrorCodes.DeviceUnavailable, Assert.Throws<VolantException>(() => Plan(Nic)).Code);
    }

    [Theory]
    [InlineData("0000:01:00.0", true)]
    [InlineData("ffff:ff:1f.7", true)]
    [InlineData("0000:01:00.8", false)]
    [InlineData("0000:01:00", false)]
    [InlineData("01:00.0", false)]
    [InlineData("0000:0A:00.0", false)]
    [InlineData("../../../../x", false)]
    [InlineData("0000:01/00.0", false)]
    [InlineData(null, false)]
    public void An_address_is_what_the_contract_says(string? text, bool valid) => Assert.Equal(valid, PciAddress.TryParse(text, out _));

    private VfioPlan Plan(params string[] addresses) => _host.Binder.Plan([.. addresses.Select(PciAddress.Parse)], ["8086:*"], []);

    private static void AssertFault(string code, string words, VfioPlan plan)
    {
        var fault = Assert.Single(plan.Faults);
        Assert.Equal(code, fault.Code);
        Assert.Contains(words, fault.Message, StringComparison.Ordinal);
    }
}
