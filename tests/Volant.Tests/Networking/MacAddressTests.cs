using CsCheck;
using Volant.Daemon.Networking;

namespace Volant.Tests.Networking;

public sealed class MacAddressTests
{
    private static readonly Guid Uid = Guid.Parse("01234567-89ab-7def-8123-456789abcdef");

    [Fact]
    public void A_guest_has_the_last_bytes_of_its_uid()
    {
        Assert.Equal("02:67:89:ab:cd:ef", MacAddress.FromUid(Uid).ToString());
        Assert.Equal("fe:67:89:ab:cd:ef", MacAddress.ForTap(Uid).ToString());
        Assert.Equal("06:00:c0:a8:7f:01", MacAddress.ForBridge(0xc0a87f01).ToString());
        Assert.Equal([0x02, 0x67, 0x89, 0xab, 0xcd, 0xef], MacAddress.FromUid(Uid).ToArray());
    }

    [Fact]
    public void All_addresses_are_local_and_unicast_and_those_of_guests_taps_and_bridges_never_meet() =>
        Gen.Select(Gen.Guid, Gen.UInt).Sample((uid, host) =>
        {
            MacAddress[] addresses = [MacAddress.FromUid(uid), MacAddress.ForTap(uid), MacAddress.ForBridge(host)];

            Assert.All(addresses, address => Assert.True(address.IsLocal && address.IsUnicast));
            Assert.Equal(3, addresses.Distinct().Count());
        });

    [Fact]
    public void What_was_written_can_be_read() => Gen.Guid.Sample(uid =>
    {
        var address = MacAddress.FromUid(uid);

        Assert.Equal(address, MacAddress.Parse(address.ToString()));
        Assert.Equal(address, MacAddress.Parse(address.ToString().ToUpperInvariant()));
    });

    [Theory]
    [InlineData("")]
    [InlineData("02:00:5e:00:53")]
    [InlineData("02:00:5e:00:53:1")]
    [InlineData("02:00:5e:00:53:001")]
    [InlineData("02:00:5e:00:53:0g")]
    [InlineData("02-00-5e-00-53-01")]
    [InlineData("02:00:5e:00:53: 1")]
    [InlineData("02:00:5e:00:53:+1")]
    [InlineData("02:00:5e:00:53:01\n")]
    public void Parse_refuses_other_forms(string text)
    {
        Assert.False(MacAddress.TryParse(text, out _));
        Assert.Contains($"'{text}'", Assert.Throws<FormatException>(() => MacAddress.Parse(text)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Parse_of_anything_never_throws_another_exception() => Gen.String.Sample(text => MacAddress.TryParse(text, out _) ? text.Length == 17 : true);
}
