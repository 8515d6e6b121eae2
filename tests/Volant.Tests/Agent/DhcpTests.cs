using System.Buffers.Binary;
using System.Net;
using CsCheck;
using Volant.Agent.Dhcp;

namespace Volant.Tests.Agent;

/// <summary>DHCP without a network: what is on the wire, what is believed, and when what is done.</summary>
public sealed class DhcpTests
{
    private static readonly byte[] Mac = [2, 0, 0x5e, 0, 0x53, 1];
    private static readonly IPAddress Server = IPAddress.Parse("10.1.0.1");

    private readonly DhcpMachine _machine = new(new Random(1));

    [Fact]
    public void A_request_is_a_bootp_message_with_the_options_of_dhcp()
    {
        var bytes = DhcpMessage.Encode(new DhcpRequest(DhcpType.Request, 0x01020304, 5) { Requested = IPAddress.Parse("10.1.0.7"), Server = Server }, Mac, "web");

        Assert.Equal(300, bytes.Length);
        Assert.Equal([1, 1, 6, 0, 1, 2, 3, 4, 0, 5, 0x80, 0], bytes[..12]);
        Assert.Equal(Mac, bytes[28..34]);
        Assert.Equal([0x63, 0x82, 0x53, 0x63, 53, 1, 3, 61, 7, 1, .. Mac], bytes[236..252]);
        Assert.True(bytes.AsSpan().IndexOf((byte[])[12, 3, .. "web"u8]) > 0);
        Assert.True(bytes.AsSpan().IndexOf((byte[])[50, 4, 10, 1, 0, 7, 54, 4, 10, 1, 0, 1, 255]) > 0);
    }

    [Fact]
    public void A_client_with_an_address_names_it_and_wants_no_broadcast()
    {
        var bytes = DhcpMessage.Encode(new DhcpRequest(DhcpType.Request, 1, 0) { ClientAddress = IPAddress.Parse("10.1.0.7") }, Mac, new string('a', 64));

        Assert.Equal([0, 0, 10, 1, 0, 7], bytes[10..16]);
        Assert.DoesNotContain((byte)'a', bytes);
    }

    [Fact]
    public void Options_in_pieces_and_in_the_fields_for_names_are_put_together()
    {
        var message = Answer(1, DhcpType.Ack, "10.1.0.7", (54, [10, 1, 0, 1]), (6, [10, 1, 0, 1, 10]), (6, [1, 0, 2]), (52, [3]));
        ((byte[])[15, 3, .. "abc"u8, 255]).CopyTo(message, 108);
        ((byte[])[0, 51, 4, 0, 0, 0, 60, 255]).CopyTo(message, 44);

        var reply = DhcpMessage.Decode(message, Mac)!;

        Assert.Equal([10, 1, 0, 1, 10, 1, 0, 2], reply.Options[6]);
        Assert.Equal("abc"u8.ToArray(), reply.Options[15]);
        Assert.Equal([0, 0, 0, 60], reply.Options[51]);
    }

    [Fact]
    public void What_is_not_for_this_client_or_not_whole_is_nothing()
    {
        var good = Answer(1, DhcpType.Ack, "10.1.0.7", (54, [10, 1, 0, 1]));
        Assert.NotNull(DhcpMessage.Decode(good, Mac));

        Assert.Null(DhcpMessage.Decode(good.AsSpan(0, 239), Mac));
        Assert.Null(DhcpMessage.Decode([.. good, .. new byte[DhcpMessage.MaxLength]], Mac));
        Assert.Null(DhcpMessage.Decode(good, [2, 0, 0, 0, 0, 9]));
        Assert.Null(DhcpMessage.Decode(With(good, 0, 1), Mac));
        Assert.Null(DhcpMessage.Decode(With(good, 236, 0), Mac));
        Assert.Null(DhcpMessage.Decode(Answer(1, null, "10.1.0.7"), Mac));
        Assert.Null(DhcpMessage.Decode([.. good.AsSpan(0, 240), 53, 200, 5], Mac));
    }

    [Fact]
    public void No_bytes_make_the_reader_fail()
    {
        Gen.Byte.Array[0, 700].Sample(bytes =>
        {
            var message = Answer(7, DhcpType.Offer, "10.1.0.7");
            bytes.AsSpan(0, Math.Min(bytes.Length, 60)).CopyTo(message.AsSpan(44));
            byte[] whole = [.. message.AsSpan(0, 243), .. bytes];
            if (DhcpMessage.Decode(whole, Mac) is { } reply)
            {
                _ = DhcpLease.Read(reply, out _);
            }

            _ = DhcpMessage.Decode(bytes, Mac);
        });
    }

    [Fact]
    public void A_lease_is_read_whole()
    {
        var lease = Lease(
            "10.1.0.7", (54, [10, 1, 0, 1]), (1, [255, 255, 0, 0]), (3, [10, 1, 0, 1, 10, 1, 0, 2]), (6, [10, 1, 0, 5, 0, 0, 0, 0, 10, 1, 0, 6, 10, 1, 0, 7, 10, 1, 0, 8]),
            (15, "example.org\0"u8.ToArray()), (51, Number(3600)), (58, Number(1000)), (59, Number(2000)))!;

        Assert.Equal(("10.1.0.7", 16, "10.1.0.1"), (lease.Address.ToString(), lease.PrefixLength, lease.Server.ToString()));
        Assert.Equal([new DhcpRoute(IPAddress.Any, 0, Server)], lease.Routes);
        Assert.Equal(["10.1.0.5", "10.1.0.6", "10.1.0.7"], lease.NameServers.Select(server => server.ToString()));
        Assert.Equal("example.org", lease.Domain);
        Assert.Equal((3600, 1000, 2000), (lease.Duration!.Value.TotalSeconds, lease.Renewal.TotalSeconds, lease.Rebinding.TotalSeconds));
    }

    [Theory]
    [InlineData("0.0.0.0", 54, 3600)]
    [InlineData("127.0.0.1", 54, 3600)]
    [InlineData("224.0.0.1", 54, 3600)]
    [InlineData("255.255.255.255", 54, 3600)]
    [InlineData("10.1.0.0", 54, 3600)]
    [InlineData("10.1.255.255", 54, 3600)]
    [InlineData("10.1.0.7", 55, 3600)]
    [InlineData("10.1.0.7", 54, 0)]
    [InlineData("10.1.0.7", 54, 3)]
    public void A_lease_that_no_guest_can_use_is_refused(string address, byte serverOption, uint seconds) =>
        Assert.Null(Lease(address, (serverOption, [10, 1, 0, 1]), (1, [255, 255, 0, 0]), (51, Number(seconds))));

    [Theory]
    [InlineData(255, 0, 255, 0)]
    [InlineData(0, 0, 0, 0)]
    public void A_mask_with_holes_is_refused(byte a, byte b, byte c, byte d) =>
        Assert.Null(Lease("10.1.0.7", (54, [10, 1, 0, 1]), (1, [a, b, c, d]), (51, Number(60))));

    [Fact]
    public void Hostile_values_are_left_out_and_the_rest_is_used()
    {
        var lease = Lease(
            "10.1.0.7", (54, [10, 1, 0, 1]), (3, [127, 0, 0, 1]), (6, [224, 0, 0, 1, 1]), (15, "a b\nnameserver 6.6.6.6"u8.ToArray()),
            (51, Number(100)), (58, Number(0)), (59, Number(4_000_000_000)))!;

        Assert.Equal(8, lease.PrefixLength);
        Assert.Empty(lease.Routes);
        Assert.Empty(lease.NameServers);
        Assert.Null(lease.Domain);
        Assert.Equal((50, 87.5), (lease.Renewal.TotalSeconds, lease.Rebinding.TotalSeconds));
    }

    [Fact]
    public void Classless_routes_replace_the_router_and_a_far_one_is_reached_over_the_link()
    {
        var lease = Lease(
            "10.1.0.7", (54, [10, 1, 0, 1]), (1, [255, 255, 255, 0]), (3, [10, 1, 0, 9]), (51, Number(60)),
            (121, [24, 192, 0, 2, 0, 0, 0, 0, 0, 10, 9, 0, 1, 33, 1]))!;

        Assert.Equal(
            [new DhcpRoute(IPAddress.Parse("192.0.2.0"), 24, null), new DhcpRoute(IPAddress.Parse("10.9.0.1"), 32, null), new DhcpRoute(IPAddress.Any, 0, IPAddress.Parse("10.9.0.1"))],
            lease.Routes);
    }

    [Fact]
    public void A_lease_for_ever_is_never_renewed()
    {
        Bind(at: 0, seconds: uint.MaxValue);

        Assert.Equal(DhcpState.Bound, _machine.State);
        Assert.Null(_machine.Due);
        Assert.Null(_machine.Lease!.Duration);
    }

    [Fact]
    public void The_client_asks_ever_more_rarely_until_it_is_answered()
    {
        var last = TimeSpan.Zero;
        var pauses = new List<double>();
        for (var i = 0; i < 9; i++)
        {
            var step = _machine.OnTime(_machine.Due!.Value);
            Assert.Equal(DhcpType.Discover, step.Send!.Type);
            Assert.Null(step.To);
            pauses.Add((_machine.Due!.Value - last).TotalSeconds);
            last = _machine.Due.Value;
        }

        Assert.All(pauses.Zip([1.0, 2, 4, 8, 16, 32, 64, 64, 64]), pair => Assert.InRange(pair.First, pair.Second * 0.875, pair.Second * 1.125));
        Assert.Equal(default, _machine.OnTime(last - TimeSpan.FromTicks(1)));
    }

    [Fact]
    public void An_offer_is_asked_for_and_an_unanswered_request_begins_anew()
    {
        var discover = _machine.OnTime(TimeSpan.Zero).Send!;
        Assert.Equal(default, _machine.OnReply(Reply(discover.Transaction + 1, DhcpType.Offer), TimeSpan.Zero));
        Assert.Equal(default, _machine.OnReply(Reply(discover.Transaction, DhcpType.Ack), TimeSpan.Zero));

        var request = _machine.OnReply(Reply(discover.Transaction, DhcpType.Offer), TimeSpan.FromSeconds(1)).Send!;

        Assert.Equal((DhcpType.Request, "10.1.0.7", "10.1.0.1"), (request.Type, request.Requested!.ToString(), request.Server!.ToString()));
        for (var i = 0; i < 3; i++)
        {
            Assert.Equal(DhcpType.Request, _machine.OnTime(_machine.Due!.Value).Send!.Type);
        }

        Assert.Equal(DhcpType.Discover, _machine.OnTime(_machine.Due!.Value).Send!.Type);
    }

    [Fact]
    public void An_unusable_offer_and_the_answer_of_another_server_are_not_taken()
    {
        var transaction = _machine.OnTime(TimeSpan.Zero).Send!.Transaction;
        var bad = _machine.OnReply(new DhcpReply(DhcpType.Offer, transaction, IPAddress.Loopback, new Dictionary<byte, byte[]>()), TimeSpan.Zero);
        Assert.Contains("127.0.0.1", bad.Problem, StringComparison.Ordinal);
        Assert.Equal(DhcpState.Selecting, _machine.State);

        _machine.OnReply(Reply(transaction, DhcpType.Offer), TimeSpan.Zero);
        _machine.OnReply(Reply(transaction, DhcpType.Ack, server: [10, 1, 0, 66]), TimeSpan.Zero);
        Assert.Equal(DhcpState.Requesting, _machine.State);
    }

    [Fact]
    public void A_refusal_drops_all_and_waits_a_moment()
    {
        Bind(at: 10);
        var renewal = _machine.OnTime(_machine.Due!.Value).Send!;

        var step = _machine.OnReply(Reply(renewal.Transaction, DhcpType.Nak), TimeSpan.FromSeconds(1000));

        Assert.NotNull(step.Problem);
        Assert.Null(_machine.Lease);
        Assert.Equal(TimeSpan.FromSeconds(1002), _machine.Due);
        Assert.Equal(DhcpType.Discover, _machine.OnTime(_machine.Due!.Value).Send!.Type);
    }

    [Fact]
    public void A_lease_is_renewed_at_its_server_and_lasts_from_the_request_on()
    {
        Bind(at: 10);
        Assert.Equal(TimeSpan.FromSeconds(1810), _machine.Due);

        var step = _machine.OnTime(TimeSpan.FromSeconds(1810));

        Assert.Equal((DhcpState.Renewing, Server), (_machine.State, step.To));
        Assert.Equal(("10.1.0.7", null, null), (step.Send!.ClientAddress!.ToString(), step.Send.Requested, step.Send.Server));
        _machine.OnReply(Reply(step.Send.Transaction, DhcpType.Ack), TimeSpan.FromSeconds(1900));
        Assert.Equal((DhcpState.Bound, TimeSpan.FromSeconds(3610)), (_machine.State, _machine.Due));
    }

    [Fact]
    public void Without_an_answer_every_server_is_asked_and_at_the_end_the_address_is_given_up()
    {
        Bind(at: 0);
        var asked = new List<(double At, DhcpState State, bool ToAll)>();
        DhcpStep step;
        do
        {
            var now = _machine.Due!.Value;
            step = _machine.OnTime(now);
            asked.Add((now.TotalSeconds, _machine.State, step.To is null));
        }
        while (_machine.Lease is not null);

        Assert.Equal((3600, DhcpState.Selecting, true), asked[^1]);
        Assert.Contains("has run out", step.Problem, StringComparison.Ordinal);
        Assert.Equal(DhcpType.Discover, step.Send!.Type);
        Assert.All(asked[..^1], ask => Assert.Equal((ask.At < 3150 ? DhcpState.Renewing : DhcpState.Rebinding, ask.At >= 3150), (ask.State, ask.ToAll)));
        Assert.Contains(asked, ask => ask.At == 3150);
        Assert.All(asked.Zip(asked.Skip(1)), pair => Assert.True(pair.Second.At - pair.First.At >= 20, $"{pair}"));
        Assert.InRange(asked.Count, 5, 20);
    }

    [Fact]
    public void An_address_that_somebody_uses_is_declined_and_another_asked_for_after_ten_seconds()
    {
        var transaction = _machine.OnTime(TimeSpan.Zero).Send!.Transaction;
        _machine.OnReply(Reply(transaction, DhcpType.Offer), TimeSpan.Zero);
        var check = _machine.OnReply(Reply(transaction, DhcpType.Ack), TimeSpan.Zero);
        Assert.Equal(("10.1.0.7", DhcpState.Checking, null, null), (check.Check!.ToString(), _machine.State, _machine.Lease, _machine.Due));

        var step = _machine.OnChecked("02:00:00:00:00:09", TimeSpan.FromSeconds(1));

        Assert.Equal((DhcpType.Decline, "10.1.0.7", "10.1.0.1", null), (step.Send!.Type, step.Send.Requested!.ToString(), step.Send.Server!.ToString(), step.To));
        Assert.Contains("02:00:00:00:00:09 uses already", step.Problem, StringComparison.Ordinal);
        Assert.Equal((null, TimeSpan.FromSeconds(11)), (_machine.Lease, _machine.Due));
        Assert.Equal(DhcpType.Discover, _machine.OnTime(_machine.Due!.Value).Send!.Type);
    }

    [Fact]
    public void A_lease_is_given_back_once_and_to_its_server()
    {
        Assert.Equal(default, _machine.Release());
        Bind(at: 0);

        var step = _machine.Release();

        Assert.Equal((DhcpType.Release, "10.1.0.7", Server, Server), (step.Send!.Type, step.Send.ClientAddress!.ToString(), step.Send.Server, step.To));
        Assert.Equal((null, null), (_machine.Lease, _machine.Due));
        Assert.Equal(default, _machine.Release());
        var bytes = DhcpMessage.Encode(step.Send, Mac, "web");
        Assert.Equal([53, 1, 7, 61, 7, 1, .. Mac, 54, 4, 10, 1, 0, 1, 255], bytes[240..259]);
    }

    [Theory]
    [InlineData(1, "10.1.0.7", "10.1.0.9", 9, true)]
    [InlineData(2, "10.1.0.7", "10.1.0.9", 9, true)]
    [InlineData(1, "0.0.0.0", "10.1.0.7", 9, true)]
    [InlineData(2, "0.0.0.0", "10.1.0.7", 9, false)]
    [InlineData(1, "10.1.0.9", "10.1.0.7", 9, false)]
    [InlineData(1, "0.0.0.0", "10.1.0.7", 1, false)]
    [InlineData(2, "10.1.0.7", "10.1.0.7", 1, false)]
    public void Who_has_an_address_is_told_from_who_asks_for_it(byte operation, string sender, string target, byte mac, bool isHolder)
    {
        byte[] packet = [0, 1, 8, 0, 6, 4, 0, operation, .. Mac.AsSpan(0, 5), mac, .. IPAddress.Parse(sender).GetAddressBytes(), 0, 0, 0, 0, 0, 0, .. IPAddress.Parse(target).GetAddressBytes()];

        Assert.Equal(isHolder ? "02:00:5e:00:53:09" : null, AddressCheck.HolderIn(packet, IPAddress.Parse("10.1.0.7"), Mac));
        Assert.Null(AddressCheck.HolderIn(packet.AsSpan(0, 27), IPAddress.Parse("10.1.0.7"), Mac));
        Assert.Null(AddressCheck.HolderIn(With(packet, 3, 6), IPAddress.Parse("10.1.0.7"), Mac));
    }

    /// <summary>Goes through the whole exchange at one moment.</summary>
    private void Bind(double at, uint seconds = 3600)
    {
        var now = TimeSpan.FromSeconds(at);
        var transaction = _machine.OnTime(now).Send!.Transaction;
        _machine.OnReply(Reply(transaction, DhcpType.Offer, seconds), now);
        _machine.OnReply(Reply(transaction, DhcpType.Ack, seconds), now);
        Assert.Equal(default, _machine.OnChecked(holder: null, now));
        Assert.Equal(DhcpState.Bound, _machine.State);
    }

    private static DhcpReply Reply(uint transaction, DhcpType type, uint seconds = 3600, byte[]? server = null) => DhcpMessage.Decode(
        Answer(transaction, type, "10.1.0.7", (54, server ?? [10, 1, 0, 1]), (1, [255, 255, 0, 0]), (51, Number(seconds))), Mac)!;

    private static DhcpLease? Lease(string address, params (byte, byte[])[] options) => DhcpLease.Read(DhcpMessage.Decode(Answer(1, DhcpType.Ack, address, options), Mac)!, out _);

    private static byte[] Answer(uint transaction, DhcpType? type, string address, params (byte Number, byte[] Value)[] options)
    {
        var message = new byte[240];
        (message[0], message[1], message[2]) = (2, 1, 6);
        BinaryPrimitives.WriteUInt32BigEndian(message.AsSpan(4), transaction);
        IPAddress.Parse(address).GetAddressBytes().CopyTo(message, 16);
        Mac.CopyTo(message, 28);
        BinaryPrimitives.WriteUInt32BigEndian(message.AsSpan(236), 0x63825363);
        return
        [
            .. message,
            .. type is { } known ? [53, 1, (byte)known] : Array.Empty<byte>(),
            .. options.SelectMany(option => (byte[])[option.Number, (byte)option.Value.Length, .. option.Value]),
            255,
        ];
    }

    private static byte[] Number(uint value)
    {
        var bytes = new byte[4];
        BinaryPrimitives.WriteUInt32BigEndian(bytes, value);
        return bytes;
    }

    private static byte[] With(byte[] bytes, int index, byte value)
    {
        byte[] copy = [.. bytes];
        copy[index] = value;
        return copy;
    }
}
