using System.Net.WebSockets;
using System.Text;
using Microsoft.Extensions.DependencyInjection;
using Volant.Contracts;
using Volant.Contracts.Api;

namespace Volant.Tests.Api;

public sealed class AgentProxyTests : IAsyncLifetime
{
    private const string Key = "s3cret-key";
    private const string Agent = "/api/v1/vms/web/agent";
    private static readonly string KeyProtocol = "volant-key." + System.Buffers.Text.Base64Url.EncodeToString(Encoding.UTF8.GetBytes(Key));
    private static readonly (string, string) KeyHeader = ("X-Volant-API-Key", Key);

    private ApiFixture _api = null!;

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        _api = await ApiFixture.StartAsync(
            new Dictionary<string, string> { ["VOLANT_API_KEY"] = Key, ["VOLANT_CORS_ORIGINS"] = "https://good.example", ["VOLANT_AGENT_TIMEOUT"] = "2" });
        _api.Client.DefaultRequestHeaders.Add("X-Volant-API-Key", Key);
        await _api.InstallAsync();
        await _api.CreateAsync("web");
    }

    public ValueTask DisposeAsync() => _api.DisposeAsync();

    [Fact]
    public async Task The_guest_never_sees_a_key_in_any_of_its_three_forms()
    {
        using var response = await _api.SendAsync(HttpMethod.Get, $"{Agent}/headers", null, ("Authorization", $"Bearer {Key}"), ("Cookie", $"k={Key}"), ("X-Mine", "kept"));
        var seen = await response.Content.ReadAsStringAsync(Token);
        Assert.Contains("X-Mine: kept", seen, StringComparison.OrdinalIgnoreCase);
        Assert.DoesNotContain(Key, seen, StringComparison.Ordinal);

        using var socket = await _api.OpenAsync($"{Agent}/echo?choose=chat", [KeyProtocol, "volant", "chat"], ("Authorization", $"Bearer {Key}"));
        seen = (await socket.NextAsync())!.Value.Text;
        Assert.DoesNotContain("volant", seen, StringComparison.OrdinalIgnoreCase);
        Assert.DoesNotContain(Key, seen, StringComparison.Ordinal);
        Assert.Contains("Sec-WebSocket-Protocol: chat", seen, StringComparison.OrdinalIgnoreCase);
        Assert.Equal("chat", socket.SubProtocol);
    }

    [Fact]
    public async Task What_is_for_one_hop_only_is_not_passed_on()
    {
        using var response = await _api.SendAsync(
            HttpMethod.Get, $"{Agent}/headers", null, ("Connection", "X-Hop"), ("X-Hop", "1"), ("Keep-Alive", "timeout=5"), ("Proxy-Authorization", "Basic x"), ("TE", "gzip"), ("X-Far", "2"));
        var seen = await response.Content.ReadAsStringAsync(Token);
        Assert.Contains("X-Far: 2", seen, StringComparison.OrdinalIgnoreCase);
        foreach (var name in new[] { "X-Hop", "Keep-Alive", "Proxy-", "TE:", "Connection" })
        {
            Assert.DoesNotContain(name, seen, StringComparison.OrdinalIgnoreCase);
        }
    }

    [Fact]
    public async Task A_page_learns_no_power_from_a_guest_and_keeps_that_of_the_daemon()
    {
        using var response = await _api.SendAsync(HttpMethod.Get, $"{Agent}/power", null, ("Origin", "https://good.example"));
        Assert.Equal("power", await response.Content.ReadAsStringAsync(Token));
        Assert.Equal(["https://good.example"], response.Headers.GetValues("Access-Control-Allow-Origin"));
        Assert.DoesNotContain("*", response.Headers.GetValues("Access-Control-Allow-Headers"));
        Assert.Equal(["sandbox allow-scripts allow-forms"], response.Headers.GetValues("Content-Security-Policy"));
        foreach (var name in new[] { "Set-Cookie", "Strict-Transport-Security", "Clear-Site-Data" })
        {
            Assert.False(response.Headers.Contains(name), name);
        }
    }

    [Fact]
    public async Task Bodies_stream_both_ways_at_once()
    {
        await using var connection = await _api.ConnectAsync(Token);
        using var reader = new StreamReader(connection, Encoding.ASCII);
        await WriteAsync($"POST {Agent}/upper HTTP/1.1\r\nHost: localhost\r\nX-Volant-API-Key: {Key}\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
        while (await reader.ReadLineAsync(Token) is { Length: > 0 })
        {
        }

        foreach (var (expected, next) in new[] { ("ABC", "3\r\ndef\r\n"), ("DEF", "3\r\nghi\r\n"), ("GHI", "0\r\n\r\n") })
        {
            Assert.Equal(["3", expected], [await reader.ReadLineAsync(Token), await reader.ReadLineAsync(Token)]);
            await WriteAsync(next);
        }

        Assert.Equal("0", await reader.ReadLineAsync(Token));

        ValueTask WriteAsync(string text) => connection.WriteAsync(Encoding.ASCII.GetBytes(text), Token);
    }

    [Fact]
    public async Task A_WebSocket_goes_through_with_its_path_and_its_messages()
    {
        using var socket = await _api.OpenAsync($"{Agent}/echo/a%20b?x=1", null, KeyHeader);
        Assert.StartsWith("/echo/a%20b?x=1\n", (await socket.NextAsync())!.Value.Text, StringComparison.Ordinal);
        await socket.SendAsync("text");
        Assert.Equal((WebSocketMessageType.Text, "text"), await socket.NextAsync());
        await socket.SendAsync(new string('x', 300_000), WebSocketMessageType.Binary);
        Assert.Equal((WebSocketMessageType.Binary, new string('x', 300_000)), await socket.NextAsync());
        await socket.CloseAsync(WebSocketCloseStatus.NormalClosure, "bye", Token);
        Assert.Equal(WebSocketCloseStatus.NormalClosure, socket.CloseStatus);
    }

    [Fact]
    public async Task A_browser_that_offers_its_key_gets_a_protocol_chosen_but_never_the_key()
    {
        using var plain = await _api.OpenAsync($"{Agent}/echo", [KeyProtocol, "volant"]);
        Assert.Equal("volant", plain.SubProtocol);
        using var logs = await _api.OpenAsync("/ws/v1/vms/web/logs", [KeyProtocol, "volant"]);
        Assert.Equal("volant", logs.SubProtocol);
        using var other = await _api.OpenAsync("/ws/v1/vms/web/logs", [KeyProtocol, "mine", "yours"]);
        Assert.Equal("mine", other.SubProtocol);
        using var none = await _api.OpenAsync("/ws/v1/vms/web/logs", [KeyProtocol]);
        Assert.Null(none.SubProtocol);
    }

    [Fact]
    public async Task A_WebSocket_without_the_key_or_from_a_foreign_page_is_refused()
    {
        foreach (var path in new[] { "/ws/v1/vms/web/logs", "/ws/v1/vms/web/console", "/ws/v1/vms/web/devtools", $"{Agent}/echo" })
        {
            Assert.Equal(401, await _api.RefusalAsync(path));
            Assert.Equal(401, await _api.RefusalAsync(path, ["volant-key.d3Jvbmc", "volant"]));
            Assert.Equal(401, await _api.RefusalAsync(path, ["volant-key.!!", "volant"]));
            Assert.Equal(401, await _api.RefusalAsync($"{path}?key={Key}&X-Volant-API-Key={Key}"));
            Assert.Equal(403, await _api.RefusalAsync(path, [KeyProtocol], ("Origin", "https://evil.example")));
            Assert.Equal(403, await _api.RefusalAsync(path, [KeyProtocol], ("Origin", "null")));
        }

        using var good = await _api.OpenAsync("/ws/v1/vms/web/logs", [KeyProtocol, "volant"], ("Origin", "https://good.example"));
        using var same = await _api.OpenAsync("/ws/v1/vms/web/logs", [KeyProtocol, "volant"], ("Origin", "http://localhost"));
        Assert.Equal((WebSocketState.Open, WebSocketState.Open), (good.State, same.State));
    }

    [Fact]
    public async Task A_guest_that_hangs_is_given_up_and_a_hundred_of_them_hinder_nobody()
    {
        var hung = Enumerable.Range(0, 100).Select(_ => _api.SendAsync(HttpMethod.Get, $"{Agent}/hang")).ToArray();
        using (var version = await _api.SendAsync(HttpMethod.Get, $"{Agent}/version"))
        {
            Assert.Equal(200, (int)version.StatusCode);
        }

        foreach (var call in hung)
        {
            using var response = await call;
            var problem = await ApiFixture.ReadAsync(response, 504, ContractsJson.Default.Problem);
            Assert.Equal(ErrorCodes.Timeout, problem.Code);
        }

        Assert.Equal(100, _api.Agent.Hanging);
        Assert.Equal(504, await _api.RefusalAsync($"{Agent}/hang", null, KeyHeader));
    }

    [Fact]
    public async Task A_slow_upload_is_not_held_against_the_guest_but_its_silence_afterwards_is()
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, $"{Agent}/upper");
        request.Content = new StreamContent(new Trickle(TimeSpan.FromSeconds(2.5)));
        using var response = await _api.Client.SendAsync(request, Token);
        Assert.Equal("AAA", await response.Content.ReadAsStringAsync(Token));

        using var silent = new HttpRequestMessage(HttpMethod.Post, $"{Agent}/hang") { Content = new ByteArrayContent(new byte[10 * 1024 * 1024]) };
        using var refused = await _api.Client.SendAsync(silent, Token);
        await ApiFixture.ReadAsync(refused, 504, ContractsJson.Default.Problem);
    }

    [Fact]
    public async Task A_stream_has_no_time_limit_once_it_has_begun()
    {
        using var response = await _api.SendAsync(HttpMethod.Get, $"{Agent}/drip");
        await using var body = await response.Content.ReadAsStreamAsync(Token);
        Assert.Equal('x', body.ReadByte());
        var more = body.ReadAsync(new byte[1], Token).AsTask();
        await Task.WhenAny(more, Task.Delay(TimeSpan.FromSeconds(3), TimeProvider.System, Token));
        Assert.False(more.IsCompleted);
    }

    [Fact]
    public async Task Broken_answers_are_errors_and_are_not_followed()
    {
        foreach (var path in new[] { "many-headers", "reset" })
        {
            using var response = await _api.SendAsync(HttpMethod.Get, $"{Agent}/{path}");
            var problem = await ApiFixture.ReadAsync(response, 502, ContractsJson.Default.Problem);
            Assert.Equal(ErrorCodes.AgentUnreachable, problem.Code);
        }

        using var half = await _api.SendAsync(HttpMethod.Get, $"{Agent}/broken");
        if (half.IsSuccessStatusCode)
        {
            // Unless the head and the end came together, the caller has half an answer, and must learn that it is one.
            await Assert.ThrowsAnyAsync<Exception>(() => half.Content.ReadAsByteArrayAsync(Token));
        }

        using var redirect = await _api.SendAsync(HttpMethod.Get, $"{Agent}/elsewhere");
        Assert.Equal(302, (int)redirect.StatusCode);
        using var trailers = await _api.SendAsync(HttpMethod.Get, $"{Agent}/trailers");
        Assert.Equal("body", await trailers.Content.ReadAsStringAsync(Token));
        Assert.False(trailers.TrailingHeaders.Contains("set-cookie"));
        using var version = await _api.SendAsync(HttpMethod.Get, $"{Agent}/version");
        Assert.Equal("HTTP/2 guest ", await version.Content.ReadAsStringAsync(Token));
    }

    [Fact]
    public async Task DevTools_are_bridged_to_where_the_runtime_says()
    {
        Assert.Equal(502, await _api.RefusalAsync("/ws/v1/vms/web/devtools", null, KeyHeader));
        foreach (var bad in new[] { "x", "{}", """{"websocket_path":"http://evil/"}""", """{"websocket_path":""}""", new string(' ', 100_000) })
        {
            _api.Agent.DevTools = bad;
            Assert.Equal(502, await _api.RefusalAsync("/ws/v1/vms/web/devtools", null, KeyHeader));
        }

        _api.Agent.DevTools = """{"websocket_url":"ws://127.0.0.1:9222/echo/browser/1","websocket_path":"/echo/browser/1","port":9222,"browser_version":"Chrome/1","user_agent":"x","address":"127.0.0.1"}""";
        using (var browser = await _api.OpenAsync("/ws/v1/vms/web/devtools", [KeyProtocol, "volant"], ("Origin", "https://good.example")))
        {
            var seen = (await browser.NextAsync())!.Value.Text;
            Assert.StartsWith("/echo/browser/1\n", seen, StringComparison.Ordinal);
            Assert.DoesNotContain("Origin", seen, StringComparison.OrdinalIgnoreCase);
            Assert.DoesNotContain("volant", seen, StringComparison.OrdinalIgnoreCase);
            await browser.SendAsync("""{"id":1}""");
            Assert.Equal("""{"id":1}""", (await browser.NextAsync())!.Value.Text);
        }

        using var page = await _api.OpenAsync("/ws/v1/vms/web/devtools/echo/page/7?a=b", null, KeyHeader);
        Assert.StartsWith("/echo/page/7?a=b\n", (await page.NextAsync())!.Value.Text, StringComparison.Ordinal);
        using var stopped = await _api.SendAsync(HttpMethod.Post, "/api/v1/vms/web/stop?grace_seconds=0");
        Assert.Equal(409, await _api.RefusalAsync("/ws/v1/vms/web/devtools", null, KeyHeader));
        Assert.Equal(409, await _api.RefusalAsync($"{Agent}/echo", null, KeyHeader));
    }

    /// <summary>Three letters with a pause before each.</summary>
    private sealed class Trickle(TimeSpan pause) : MemoryStream(new byte[3])
    {
        public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            if (Position == Length)
            {
                return 0;
            }

            await Task.Delay(pause, TimeProvider.System, cancellationToken);
            buffer.Span[0] = (byte)'a';
            Position++;
            return 1;
        }

        public override async Task CopyToAsync(Stream destination, int bufferSize, CancellationToken cancellationToken)
        {
            var one = new byte[1];
            while (await ReadAsync(one, cancellationToken) > 0)
            {
                await destination.WriteAsync(one, cancellationToken);
                await destination.FlushAsync(cancellationToken);
            }
        }
    }
}
