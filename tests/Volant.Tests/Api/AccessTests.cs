using System.Text.Json.Nodes;
using Volant.Contracts;

namespace Volant.Tests.Api;

/// <summary>Who may call what: every route of the API document, in every way that must not work (S01, S04, S13).</summary>
public sealed class AccessTests
{
    private const string Key = "vlt_0123456789abcdef0123456789abcdef";

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Every_route_but_health_needs_the_key_in_a_header()
    {
        await using var api = await ApiFixture.StartAsync(new Dictionary<string, string>(StringComparer.Ordinal) { ["VOLANT_API_KEY"] = Key });
        foreach (var (method, path) in await RoutesAsync(api))
        {
            foreach (var (query, headers) in new (string, (string, string)[])[]
            {
                ("", []), ("", [("X-Volant-API-Key", "wrong")]), ("", [("Authorization", "Bearer wrong")]), ("", [("Authorization", $"Basic {Key}")]),
                ($"?api_key={Key}&key={Key}&access_token={Key}&X-Volant-API-Key={Key}", []), ("", [("Cookie", $"X-Volant-API-Key={Key}")]),
                ("", [("Sec-WebSocket-Protocol", "volant-key.d3Jvbmc")]),
            })
            {
                using var refused = await api.SendAsync(method, path + query, json: null, headers);
                Assert.True((int)refused.StatusCode == (path == "/healthz" ? 200 : (int)refused.StatusCode == 429 ? 429 : 401), $"{method} {path}{query}: {(int)refused.StatusCode}");
            }
        }

        using var allowed = await api.SendAsync(HttpMethod.Get, "/api/v1/vms", json: null, ("X-Volant-API-Key", Key));
        Assert.Equal(200, (int)allowed.StatusCode);
        using var bearer = await api.SendAsync(HttpMethod.Get, "/api/v1/vms", json: null, ("Authorization", $"Bearer {Key}"));
        Assert.Equal(200, (int)bearer.StatusCode);
    }

    [Fact]
    public async Task Wrong_keys_are_answered_429_after_ten_and_the_right_one_still_works()
    {
        await using var api = await ApiFixture.StartAsync(new Dictionary<string, string>(StringComparer.Ordinal) { ["VOLANT_API_KEY"] = Key });
        var answers = new List<int>();
        for (var i = 0; i < 12; i++)
        {
            using var refused = await api.SendAsync(HttpMethod.Get, "/api/v1/vms", json: null, ("X-Volant-API-Key", $"guess-{i}"));
            answers.Add((int)refused.StatusCode);
        }

        Assert.Equal([.. Enumerable.Repeat(401, 10), 429, 429], answers);
        using var allowed = await api.SendAsync(HttpMethod.Get, "/api/v1/vms", json: null, ("X-Volant-API-Key", Key));
        Assert.Equal(200, (int)allowed.StatusCode);
    }

    [Fact]
    public async Task A_foreign_origin_is_refused_on_every_route_and_gets_no_CORS_headers()
    {
        await using var api = await ApiFixture.StartAsync();
        foreach (var (method, path) in await RoutesAsync(api))
        {
            using var refused = await api.SendAsync(method, path, json: null, ("Origin", "https://evil.example"));
            Assert.True((int)refused.StatusCode == 403, $"{method} {path}: {(int)refused.StatusCode}");
            Assert.False(refused.Headers.Contains("Access-Control-Allow-Origin"));
        }

        using var preflight = await api.SendAsync(HttpMethod.Options, "/api/v1/vms", json: null, ("Origin", "https://evil.example"), ("Access-Control-Request-Method", "POST"));
        Assert.Equal(403, (int)preflight.StatusCode);
    }

    [Fact]
    public async Task Every_answer_carries_the_security_headers_and_a_request_id()
    {
        await using var api = await ApiFixture.StartAsync();
        foreach (var path in new[] { "/api/v1/vms", "/nowhere", "/api/v1/vms/none", "/healthz" })
        {
            using var response = await api.SendAsync(HttpMethod.Get, path, json: null, ("X-Request-Id", "my-id_1.2"));
            Assert.Equal("nosniff", Assert.Single(response.Headers.GetValues("X-Content-Type-Options")));
            Assert.Contains("frame-ancestors 'none'", Assert.Single(response.Headers.GetValues("Content-Security-Policy")), StringComparison.Ordinal);
            Assert.True(response.Headers.CacheControl!.NoStore);
            Assert.Equal("my-id_1.2", Assert.Single(response.Headers.GetValues("X-Request-Id")));
        }

        using var own = await api.SendAsync(HttpMethod.Get, "/healthz", json: null, ("X-Request-Id", "bad id\u007f"));
        Assert.Matches("^[0-9a-f]{32}$", Assert.Single(own.Headers.GetValues("X-Request-Id")));
    }

    [Fact]
    public async Task Expensive_calls_of_one_client_are_bounded_and_cheap_ones_are_not()
    {
        await using var api = await ApiFixture.StartAsync(new Dictionary<string, string>(StringComparer.Ordinal) { ["VOLANT_RATE_LIMIT"] = "1" });
        var answers = new List<int>();
        for (var i = 0; i < 6; i++)
        {
            using var response = await api.SendAsync(HttpMethod.Post, "/api/v1/vms/none/start");
            answers.Add((int)response.StatusCode);
            if ((int)response.StatusCode == 429)
            {
                Assert.Equal("too_many_requests", (await ApiFixture.ReadAsync(response, 429, ContractsJson.Default.Problem)).Code);
                Assert.True(response.Headers.RetryAfter!.Delta > TimeSpan.Zero);
            }

            using var cheap = await api.SendAsync(HttpMethod.Get, "/api/v1/vms");
            Assert.Equal(200, (int)cheap.StatusCode);
        }

        Assert.Equal(404, answers[0]);
        Assert.Contains(429, answers);
    }

    [Theory]
    [InlineData(2 * 1024 * 1024, 413)]
    [InlineData(512 * 1024, 400)]
    public async Task A_body_beyond_the_limit_is_refused(int bytes, int status)
    {
        await using var api = await ApiFixture.StartAsync();
        using var response = await api.SendAsync(HttpMethod.Post, "/api/v1/vms", $$"""{"name": "{{new string('a', bytes)}}", "plugin": "hello"}""", ("Expect", "100-continue"));
        Assert.Equal(status, (int)response.StatusCode);
    }

    [Fact]
    public async Task Deep_duplicate_and_foreign_bodies_are_refused()
    {
        await using var api = await ApiFixture.StartAsync();
        foreach (var (body, status) in new[]
        {
            (new string('[', 100_000), 400), ("""{"name": "a", "name": "b"}""", 400), ("""{"name": "a", "colour": 1}""", 400), ("\"text\"", 400), ("null", 400), ("", 400), ("{", 400), ("\u0000", 400),
        })
        {
            using var response = await api.SendAsync(HttpMethod.Post, "/api/v1/vms", body);
            Assert.True((int)response.StatusCode == status, $"{body[..Math.Min(body.Length, 40)]}: {(int)response.StatusCode}");
            Assert.Equal("application/problem+json", response.Content.Headers.ContentType!.MediaType);
        }

        using var form = new FormUrlEncodedContent([KeyValuePair.Create("name", "a")]);
        using var posted = await api.Client.PostAsync("/api/v1/vms", form, Cancel);
        Assert.Equal(415, (int)posted.StatusCode);
        Assert.Empty(api.Log.Errors);
    }

    [Theory]
    [InlineData("no-such-charset", 415)]
    [InlineData("utf-7", 415)]
    [InlineData("utf-16", 415)]
    [InlineData("\"UTF-8\"", 404)]
    [InlineData("utf-8", 404)]
    public async Task Json_is_utf_8(string charset, int status)
    {
        await using var api = await ApiFixture.StartAsync();
        foreach (var path in new[] { "/api/v1/vms", "/api/v1/deployments", "/api/v1/vms/none/exec" })
        {
            using var content = new ByteArrayContent("""{"name": "a", "plugin": "none", "command": ["true"], "config": {"plugin": "none"}}"""u8.ToArray());
            content.Headers.TryAddWithoutValidation("Content-Type", $"application/json; charset={charset}");
            using var response = await api.Client.PostAsync(path, content, Cancel);
            Assert.True(status == (int)response.StatusCode || (status == 404 && (int)response.StatusCode == 400), $"{path}: {(int)response.StatusCode}");
        }

        Assert.Empty(api.Log.Errors);
    }

    private static async Task<IReadOnlyList<(HttpMethod Method, string Path)>> RoutesAsync(ApiFixture api)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, "/openapi");
        request.Headers.Add("X-Volant-API-Key", Key);
        using var response = await api.Client.SendAsync(request, Cancel);
        var document = JsonNode.Parse(await response.Content.ReadAsStringAsync(Cancel))!;
        return
        [
            .. from path in document["paths"]!.AsObject()
               from operation in path.Value!.AsObject()
               select (HttpMethod.Parse(operation.Key), System.Text.RegularExpressions.Regex.Replace(path.Key, @"\{[^}]+\}", "x", System.Text.RegularExpressions.RegexOptions.None, TimeSpan.FromSeconds(1))),
            (HttpMethod.Get, "/openapi"), (HttpMethod.Get, "/api/v1/vms/x/agent/y"), (HttpMethod.Delete, "/api/v1/vms/x/agent/y"),
        ];
    }
}
