using System.Net;
using System.Text;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;

namespace Volant.EndToEnd.Component;

/// <summary>Who may call the built daemon (S01, S02, S04).</summary>
public sealed partial class ApiAccessTests
{
    private const string Key = "vlt_0123456789abcdef0123456789abcdef";

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Every_route_of_the_document_and_every_WebSocket_is_closed_without_the_key()
    {
        await using var daemon = await StandIn.StartAsync(("VOLANT_API_KEY", Key));
        var routes = await RoutesAsync(daemon);
        daemon.Client.DefaultRequestHeaders.Clear();
        (string Query, (string, string)[] Headers)[] tries =
        [
            ("", []), ("", [("X-Volant-API-Key", "")]), ("", [("X-Volant-API-Key", Key[..^1])]), ("", [("X-Volant-API-Key", Key + "x")]), ("", [("Authorization", "Bearer wrong")]), ("", [("Authorization", $"Basic {Key}")]),
            ($"?api_key={Key}&key={Key}&token={Key}&access_token={Key}&X-Volant-API-Key={Key}", []), ("", [("Cookie", $"X-Volant-API-Key={Key}")]),
        ];
        var refused = 0;
        foreach (var (method, path) in routes)
        {
            foreach (var (query, headers) in tries)
            {
                (string, string)[] upgrade = path.StartsWith("/ws/", StringComparison.Ordinal) ? [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")] : [];
                var answer = await daemon.CallAsync(method, path + query, null, [.. headers, .. upgrade]);

                // A wrong key is worth ten tries a minute; after them it is 429, which is as closed.
                var closed = answer.Status == 401 || (answer.Status == 429 && (method == HttpMethod.Head || answer.Body.Contains("wrong API key", StringComparison.Ordinal)));
                Assert.True(path == "/healthz" ? answer.Status == 200 : closed, $"{method} {path}{query} {string.Join(' ', headers)}: {answer}");
                Assert.DoesNotContain(Key, answer.Body, StringComparison.Ordinal);
                refused += closed ? 1 : 0;
            }
        }

        StandIn.Report($"{routes.Count} routes, {refused} refusals");
        Assert.Contains(routes, route => route.Path.StartsWith("/ws/", StringComparison.Ordinal));
        (await daemon.CallAsync(HttpMethod.Get, "/api/v1/vms", null, ("Authorization", $"Bearer {Key}"))).Expect(200);
        Assert.DoesNotContain(Key, daemon.Logs(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task By_default_it_listens_on_loopback_alone_and_refuses_to_be_open_without_a_key()
    {
        Assert.SkipUnless(Environment.UserName == "root", "a network namespace of its own needs root");
        var home = Directory.CreateTempSubdirectory("vt-home-").FullName;
        try
        {
            // Its own network namespace: port 7777 of this machine may be somebody's.
            string[] inside = ["unshare", "-n", "sh", "-c", "ip link set lo up && exec \"$@\"", "sh"];
            var variables = new Dictionary<string, string>(StringComparer.Ordinal) { ["HOME"] = home, ["VOLANT_HYPERVISOR"] = StandIn.Program };
            using (var daemon = Command.Start([.. inside, Workspace.Program("volantd")], variables))
            {
                var started = TimeProvider.System.GetTimestamp();
                IReadOnlyList<string> listening;
                while ((listening = IsDaemon(daemon.Pid) ? Listening(daemon.Pid) : []).Count == 0)
                {
                    Assert.True(!daemon.Exit.IsCompleted && TimeProvider.System.GetElapsedTime(started).TotalSeconds < 20, $"{daemon.Output}{daemon.Error}");
                    await Task.Delay(TimeSpan.FromMilliseconds(20), TimeProvider.System, Cancel);
                }

                Assert.Equal(["127.0.0.1:7777"], listening);
                daemon.Signal(15);
                await daemon.WaitAsync(TimeSpan.FromSeconds(20));
            }

            foreach (var address in new[] { "0.0.0.0:7777", "[::]:7777", "192.0.2.1:80" })
            {
                variables["VOLANT_API_LISTEN"] = address;
                var refused = await Command.RunAsync([.. inside, Workspace.Program("volantd")], TimeSpan.FromSeconds(20), variables);
                Assert.True(refused.ExitCode == 78, refused.ToString());
                Assert.Contains("VOLANT_API_LISTEN", refused.Error, StringComparison.Ordinal);
                Assert.Contains("VOLANT_API_KEY", refused.Error, StringComparison.Ordinal);
                Assert.Contains("VOLANT_INSECURE", refused.Error, StringComparison.Ordinal);
            }
        }
        finally
        {
            Directory.Delete(home, recursive: true);
        }
    }

    [Fact]
    public async Task A_web_page_from_elsewhere_gets_nowhere()
    {
        await using var daemon = await StandIn.StartAsync(("VOLANT_API_LISTEN", $"127.0.0.1:{Workspace.FreePort()}"));
        var routes = await RoutesAsync(daemon);
        foreach (var (method, path) in routes)
        {
            foreach (var header in new[] { ("Origin", "https://evil.example"), ("Origin", "null"), ("Host", "evil.example"), ("Host", "127.evil.example"), ("Host", "127.0.0.1.evil.example:7777"), ("Host", "localhost.evil.example") })
            {
                var answer = await daemon.CallAsync(method, path, null, header);
                Assert.True(answer.Status == 403, $"{method} {path} {header}: {answer}");
            }
        }

        using var preflight = new HttpRequestMessage(HttpMethod.Options, "/api/v1/vms");
        preflight.Headers.Add("Origin", "https://evil.example");
        preflight.Headers.Add("Access-Control-Request-Method", "POST");
        using var refused = await daemon.Client.SendAsync(preflight, Cancel);
        Assert.Equal(HttpStatusCode.Forbidden, refused.StatusCode);
        Assert.DoesNotContain(refused.Headers, header => header.Key.StartsWith("Access-Control-", StringComparison.OrdinalIgnoreCase));

        // What a form can send without asking: the browser may leave the Origin out, the type gives it away.
        foreach (var type in new[] { "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain" })
        {
            using var form = new StringContent($$"""{"name": "web", "plugin": "{{StandIn.Plugin}}"}""", Encoding.UTF8);
            form.Headers.Remove("Content-Type");
            form.Headers.TryAddWithoutValidation("Content-Type", type);
            using var posted = await daemon.Client.PostAsync("/api/v1/vms", form, Cancel);
            Assert.Equal(HttpStatusCode.UnsupportedMediaType, posted.StatusCode);
        }

        Assert.Empty(await daemon.VmsAsync());
        foreach (var host in new[] { "localhost", "127.0.0.1", "[::1]" })
        {
            (await daemon.CallAsync(HttpMethod.Get, "/api/v1/vms", null, ("Host", host))).Expect(200);
        }
    }

    private static async Task<IReadOnlyList<(HttpMethod Method, string Path)>> RoutesAsync(TestDaemon daemon)
    {
        var document = JsonNode.Parse(await daemon.Client.GetStringAsync("/openapi", Cancel))!;
        return
        [
            .. from path in document["paths"]!.AsObject()
               from operation in path.Value!.AsObject()
               where operation.Value is JsonObject
               select (HttpMethod.Parse(operation.Key), Placeholder().Replace(path.Key, "x")),
            (HttpMethod.Get, "/openapi"), (HttpMethod.Get, "/docs"), (HttpMethod.Get, "/metrics"), (HttpMethod.Get, "/nowhere"), (HttpMethod.Get, "/api/v1/vms/x/agent/y"), (HttpMethod.Put, "/api/v1/vms/x/agent/y"),
        ];
    }

    /// <summary>TCP sockets that listen in the network namespace of a process (proc(5)): address in the host's byte order, port, state 0A.</summary>
    private static IReadOnlyList<string> Listening(int pid) =>
    [
        .. from table in new[] { "tcp", "tcp6" }
           from line in File.ReadLines($"/proc/{pid}/net/{table}").Skip(1)
           let words = line.Split(' ', StringSplitOptions.RemoveEmptyEntries)
           where words[3] == "0A"
           let at = words[1].Split(':')
           let bytes = Convert.FromHexString(at[0])
           select $"{new IPAddress(bytes.Length == 4 ? [.. bytes.Reverse()] : bytes)}:{Convert.ToInt32(at[1], 16)}",
    ];

    /// <summary>Until then it is the shell, and before that in the network namespace of the test.</summary>
    private static bool IsDaemon(int pid) => new FileInfo($"/proc/{pid}/exe").LinkTarget == Workspace.Program("volantd");

    [GeneratedRegex(@"\{[^}]+\}", RegexOptions.None, matchTimeoutMilliseconds: 1000)]
    private static partial Regex Placeholder();
}
