using System.Text;
using CsCheck;
using Volant.Daemon.Networking;
using Volant.Linux.Networking;

namespace Volant.Tests.Networking;

public sealed class TapNameTests
{
    [Fact]
    public void A_name_is_v_and_the_last_70_bits_in_base32() =>
        Assert.Equal("vxyci2fm6e2xtpp", LinuxBridgeNetwork.TapNameFor(Guid.Parse("01234567-89ab-7def-8123-456789abcdef")));

    [Fact]
    public void A_name_is_what_a_second_implementation_says() => Gen.Guid.Sample(uid =>
        Assert.Equal(Expected(uid.ToString()), LinuxBridgeNetwork.TapNameFor(uid)));

    [Fact]
    public void Every_name_is_recognised_and_valid_for_the_kernel() => Gen.Guid.Sample(uid =>
        LinuxBridgeNetwork.IsTapName(LinuxBridgeNetwork.TapNameFor(uid)) && InterfaceName.IsValid(LinuxBridgeNetwork.TapNameFor(uid)));

    [Fact]
    public void The_uids_of_one_moment_have_different_names()
    {
        var count = Soak.Times(100_000, 1_000_000);
        var moment = new DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);

        var names = Enumerable.Range(0, count).Select(_ => LinuxBridgeNetwork.TapNameFor(Guid.CreateVersion7(moment)));

        Assert.Equal(count, names.Distinct(StringComparer.Ordinal).Count());
    }

    [Theory]
    [InlineData(null)]
    [InlineData("")]
    [InlineData("vbr0")]
    [InlineData("vaaaaaaaaaaaaa")]
    [InlineData("vaaaaaaaaaaaaaaa")]
    [InlineData("taaaaaaaaaaaaaa")]
    [InlineData("vaaaaaaaaaaaaa1")]
    [InlineData("vAAAAAAAAAAAAAA")]
    [InlineData("vaaaaaaa-aaaaaa")]
    public void Other_names_are_not_ours(string? name) => Assert.False(LinuxBridgeNetwork.IsTapName(name));

    private static string Expected(string uid)
    {
        var bits = string.Concat(uid.Replace("-", "", StringComparison.Ordinal).Select(c => Convert.ToString(Convert.ToInt32(c.ToString(), 16), 2).PadLeft(4, '0')));
        var name = new StringBuilder("v");
        for (var i = bits.Length - 70; i < bits.Length; i += 5)
        {
            name.Append("abcdefghijklmnopqrstuvwxyz234567"[Convert.ToInt32(bits.Substring(i, 5), 2)]);
        }

        return name.ToString();
    }
}
