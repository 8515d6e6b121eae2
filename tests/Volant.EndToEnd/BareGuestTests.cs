using System.Text;
using Volant.Contracts.Boot;

namespace Volant.EndToEnd;

/// <summary>What comes down the channel of a real guest: garbage, which must not make the agent deaf, and the identity, which it waits for.</summary>
public sealed class BareGuestTests
{
    private static readonly byte[] Preface = Encoding.ASCII.GetBytes("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");

    // A SETTINGS frame without entries, and the beginning of a HEADERS frame that says it has 100 bytes (RFC 9113, sections 6.2 and 6.5).
    private static readonly byte[] Settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    private static readonly byte[] HalfRequest = [0, 0, 100, 1, 4, 0, 0, 0, 1, 0x82];

    [Fact]
    public async Task Garbage_and_half_requests_leave_an_agent_that_answers()
    {
        var random = new Random(3);
        var garbage = new byte[200_000];
        random.NextBytes(garbage);
        await using var guest = await BareGuest.StartAsync(string.Empty, []);

        // While it boots, and before it has a key.
        await guest.SendRawAsync(garbage);
        await guest.SendRawAsync(Hello().AsMemory(0, 20));
        await guest.UntilAsync(state => state.Status == "ok");

        // Each of these ends when the connection does: a host that fell silent may come back at any time.
        foreach (var bytes in new byte[][]
        {
            garbage,
            Hello(),
            [.. Hello(), .. garbage],
            [.. Hello(), .. Encoding.ASCII.GetBytes("GET / HTTP/1.1\r\nHost: guest\r\n\r\n")],
            [.. Hello(), .. Preface, .. Settings, .. HalfRequest],
            [.. Hello(), .. Preface, .. Settings, .. garbage],
            [.. Hello(), .. Preface, .. Hello()[..30]],
        })
        {
            await guest.DisconnectAsync();
            await guest.SendRawAsync(bytes);
            await guest.UntilAsync(state => state.Status == "ok");
        }

        Assert.DoesNotContain("FATAL", guest.Console, StringComparison.Ordinal);
        Assert.DoesNotContain("Unhandled", guest.Console, StringComparison.Ordinal);

        byte[] Hello()
        {
            var hello = new byte[GuestLink.HelloLength];
            var nonce = new byte[GuestLink.KeyLength];
            random.NextBytes(nonce);
            GuestLink.WriteHello(hello, BareGuest.Key, nonce);
            return hello;
        }
    }

    [Fact]
    public async Task A_gated_guest_serves_nothing_before_it_has_its_identity()
    {
        await using var guest = await BareGuest.StartAsync("volant.gate=closed", []);
        await guest.UntilAsync(state => state is { Gated: true, Ready: false, Hostname: "bare" });
        await guest.SendAsync(HttpMethod.Get, "/healthz", refusal: 503);
        await guest.SendAsync(HttpMethod.Get, "/v1/agent/files?path=/proc/uptime", refusal: 503);
        await guest.SendAsync(HttpMethod.Post, "/v1/agent/identify", """{"seed": "AAAA", "time": "2030-01-02T03:04:05Z"}""", refusal: 400);

        var seed = Convert.ToBase64String(new byte[32]);
        await guest.SendAsync(HttpMethod.Post, "/v1/agent/identify", $$"""{"seed": "{{seed}}", "time": "2030-01-02T03:04:05Z", "hostname": "clone"}""");

        var state = await guest.UntilAsync(state => state.Gated is null);
        Assert.Equal("clone", state.Hostname);
        Assert.StartsWith("clone", await guest.SendAsync(HttpMethod.Get, "/v1/agent/files?path=/proc/sys/kernel/hostname"), StringComparison.Ordinal);
        var since = DateTimeOffset.FromUnixTimeSeconds(long.Parse((await guest.SendAsync(HttpMethod.Get, "/v1/agent/files?path=/proc/stat")).Split('\n').Single(line => line.StartsWith("btime ", StringComparison.Ordinal))["btime ".Length..]));
        Assert.Equal(2030, since.Year);
    }
}
