using System.ComponentModel;
using Volant.Linux;
using Volant.Linux.Networking;

namespace Volant.Tests.Linux;

public sealed class TapDeviceTests
{
    private const string Name = "tap-test";

    [Fact]
    public void A_tap_is_persistent_and_created_once() => NetworkNamespace.Run(() =>
    {
        Assert.True(TapDevice.Create(Name));
        Assert.False(TapDevice.Create(Name));

        using var netlink = Netlink.Open();
        var tap = netlink.GetLink(Name);
        Assert.True(tap.IsTap);
        Assert.Equal("tun", tap.Kind);
        Assert.False(tap.IsUp);

        Assert.True(TapDevice.Delete(Name));
        Assert.False(TapDevice.Delete(Name));
        Assert.Null(netlink.FindLink(Name));
    });

    [Fact]
    public void A_tap_has_a_virtio_header_and_its_owner() => NetworkNamespace.RunWithSysfs(sys =>
    {
        TapDevice.Create(Name, owner: 1234, group: 5678);

        var directory = Path.Combine(sys, "class/net", Name);
        Assert.Equal("0x5802", File.ReadAllText(Path.Combine(directory, "tun_flags")).Trim()); // TAP, PERSIST, NO_PI, VNET_HDR
        Assert.Equal("1234", File.ReadAllText(Path.Combine(directory, "owner")).Trim());
        Assert.Equal("5678", File.ReadAllText(Path.Combine(directory, "group")).Trim());
    });

    [Fact]
    public void One_that_is_gone_is_not_made_by_opening_it_and_one_in_use_is_busy() => NetworkNamespace.Run(() =>
    {
        using var netlink = Netlink.Open();
        Assert.Equal(Errno.NoDevice, Assert.Throws<Win32Exception>(() => TapDevice.Open("t0")).NativeErrorCode);
        Assert.Null(netlink.FindLink("t0"));

        TapDevice.Create("t0");
        using var open = Networking.OpenedTap.Open("t0");
        Assert.Equal(Errno.Busy, Assert.Throws<Win32Exception>(() => TapDevice.Open("t0")).NativeErrorCode);
    });

    [Fact]
    public void Something_else_of_that_name_is_neither_taken_for_a_tap_nor_deleted() => NetworkNamespace.Run(() =>
    {
        using var netlink = Netlink.Open();
        netlink.CreateBridge(Name, [2, 0, 0, 0, 0, 1]);

        var created = Assert.Throws<Win32Exception>(() => TapDevice.Create(Name));
        var deleted = Assert.Throws<Win32Exception>(() => TapDevice.Delete(Name));

        Assert.Equal(Errno.Exists, created.NativeErrorCode);
        Assert.Equal(Errno.Exists, deleted.NativeErrorCode);
        Assert.Contains("is not a tap but bridge", deleted.Message, StringComparison.Ordinal);
        Assert.NotNull(netlink.FindLink(Name));
    });
}
