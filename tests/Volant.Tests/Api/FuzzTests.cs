using System.Globalization;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;

namespace Volant.Tests.Api;

/// <summary>Requests made from the API's own document, valid and damaged: never a fault of the daemon, and nothing left behind (G18).</summary>
public sealed partial class FuzzTests
{
    private const int Requests = 20_000;
    private const int Workers = 8;

    private static readonly string[] HostileTexts =
    [
        "", " ", "../x", "..%2f..%2fetc", "a,b", "a=b", "a\nb", "a\u0000b", "\ud800", "Ünïcode", "web", "web-1", "-", "A", "a.b", "%00", "%", "null", "true", "0", "-1", "1e309", "99999999999999999999",
        "'; DROP TABLE vms; --", "${x}", "{{x}}", "<script>", new('a', 63), new('a', 64), new('x', 10_000), "volant://sha256/zz", "file:///etc/passwd", "http://127.0.0.1:1/", "/etc/passwd", "sha256:" + new string('0', 64),
    ];

    private static readonly JsonNode?[] HostileValues =
    [
        null, JsonValue.Create(true), JsonValue.Create(0), JsonValue.Create(-1), JsonValue.Create(1), JsonValue.Create(300), JsonValue.Create(int.MaxValue), JsonValue.Create(long.MinValue), JsonValue.Create(1.5), JsonValue.Create(1e300),
        new JsonArray(), new JsonObject(), new JsonArray(1, "a", null), new JsonObject { ["a"] = new JsonObject() },
    ];

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task No_request_makes_the_daemon_fail_or_leak()
    {
        var seed = int.TryParse(Environment.GetEnvironmentVariable("VOLANT_FUZZ_SEED"), CultureInfo.InvariantCulture, out var set) ? set : Random.Shared.Next();
        TestContext.Current.TestOutputHelper!.WriteLine($"seed {seed}");
        await using var api = await ApiFixture.StartAsync(new Dictionary<string, string>(StringComparer.Ordinal) { ["VOLANT_RATE_LIMIT"] = "0", ["VOLANT_AGENT_TIMEOUT"] = "1" });
        await api.InstallAsync();
        await api.CreateAsync("web");
        var document = JsonNode.Parse(await api.Client.GetStringAsync("/openapi", Cancel))!;
        var operations = (from path in document["paths"]!.AsObject() from operation in path.Value!.AsObject() select new Operation(path.Key, operation.Key, operation.Value!.AsObject())).ToArray();
        var faults = new System.Collections.Concurrent.ConcurrentBag<string>();
        var statuses = new System.Collections.Concurrent.ConcurrentDictionary<int, int>();
        await Task.WhenAll(Enumerable.Range(0, Workers).Select(worker => Task.Run(async () =>
        {
            var random = new Random(seed + worker);
            for (var i = 0; i < Requests / Workers && faults.IsEmpty; i++)
            {
                await SendAsync(api, document, operations[random.Next(operations.Length)], random, faults, statuses);
            }
        })));

        TestContext.Current.TestOutputHelper.WriteLine(string.Join(", ", statuses.OrderBy(entry => entry.Key).Select(entry => $"{entry.Key}: {entry.Value}")));
        Assert.True(faults.IsEmpty, $"seed {seed}: {faults.FirstOrDefault()}\n{string.Join('\n', api.Log.Errors.Take(3))}");
        Assert.True(api.Log.Errors.IsEmpty, $"seed {seed}: {string.Join('\n', api.Log.Errors.Take(3))}");
        Assert.True(statuses.Keys.Count(status => status is 200 or 201 or 204 or 400 or 404 or 409) == 6, "the requests are too alike to be worth anything");
        await AssertNothingLeaksAsync(api);
    }

    private static async Task AssertNothingLeaksAsync(ApiFixture api)
    {
        foreach (var (list, each) in new[] { ("/api/v1/deployments", "/api/v1/deployments/"), ("/api/v1/vms?limit=10000", "/api/v1/vms/") })
        {
            foreach (var item in JsonNode.Parse(await api.Client.GetStringAsync(list, Cancel))!.AsArray())
            {
                using var deleted = await api.SendAsync(HttpMethod.Delete, each + item!["name"]);
                Assert.True((int)deleted.StatusCode is 204 or 404, await deleted.Content.ReadAsStringAsync(Cancel));
            }
        }

        foreach (var route in JsonNode.Parse(await api.Client.GetStringAsync("/api/v1/drift/routes", Cancel))!.AsArray())
        {
            using var deleted = await api.SendAsync(HttpMethod.Delete, $"/api/v1/drift/routes/{route!["protocol"]}/{route["host_port"]}");
            Assert.True((int)deleted.StatusCode is 204, await deleted.Content.ReadAsStringAsync(Cancel));
        }

        Assert.Empty(api.Launcher.Alive);
        Assert.Empty(api.Network.Taps);
        Assert.Empty(Directory.Exists(api.Options.RuntimeDirectory) ? Directory.GetFileSystemEntries(api.Options.RuntimeDirectory) : []);
    }

    private static async Task SendAsync(
        ApiFixture api, JsonNode document, Operation operation, Random random, System.Collections.Concurrent.ConcurrentBag<string> faults, System.Collections.Concurrent.ConcurrentDictionary<int, int> statuses)
    {
        using var request = Make(document, operation, random);
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(Cancel);
        patience.CancelAfter(TimeSpan.FromSeconds(40));
        var what = $"{request.Method} {request.RequestUri} {(request.Content is ByteArrayContent content ? Encoding.UTF8.GetString(await content.ReadAsByteArrayAsync(Cancel)) : string.Empty)}";
        try
        {
            using var response = await api.Client.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, patience.Token);
            var status = (int)response.StatusCode;
            statuses.AddOrUpdate(status, 1, (_, count) => count + 1);
            var streams = response.Content.Headers.ContentType?.MediaType == "text/event-stream" || status == 101;
            var body = streams ? string.Empty : await response.Content.ReadAsStringAsync(patience.Token);

            // 502 to 504 speak of the guest or the host, which bad input can reach; 500 speaks of us.
            if (status is 500 or 501 || (status >= 505 && status != 507))
            {
                faults.Add($"{status} for {what}: {body}");
            }
            // What is no HTTP at all never reaches the API: the server refuses it without a body.
            else if (status is >= 400 and < 500 && !(status is 414 or 431 || (status == 400 && what.Contains("%00", StringComparison.Ordinal))) && response.Content.Headers.ContentType?.MediaType != "application/problem+json" && request.Method != HttpMethod.Head && !IsProtocolError(body))
            {
                faults.Add($"{status} without a problem for {what[..Math.Min(what.Length, 400)]}: {body}");
            }
        }
        catch (Exception e) when (e is HttpRequestException or IOException)
        {
            // The server may close a connection on which it was sent nonsense; that it serves on is what the next request shows.
            statuses.AddOrUpdate(0, 1, (_, count) => count + 1);
        }
        catch (OperationCanceledException)
        {
            faults.Add($"no answer within 40 s for {what}");
        }
    }

    /// <summary>Messages of a protocol are refused in its own form.</summary>
    private static bool IsProtocolError(string body) => body.StartsWith("{\"error\":{\"code\":-32", StringComparison.Ordinal) && body.Contains("\"jsonrpc\":\"2.0\"", StringComparison.Ordinal);

    private static HttpRequestMessage Make(JsonNode document, Operation operation, Random random)
    {
        var path = Placeholder().Replace(operation.Path, match => Uri.EscapeDataString(Safe(match.Groups["word"].Value switch
        {
            "name" => Pick(random, "web", "web", "f1", "f2", "f3", Text(random)),
            "plugin" => Pick(random, "hello", "hello", "p1", Text(random)),
            _ => Pick(random, "x", Text(random)),
        })));
        var query = (operation.Definition["parameters"]?.AsArray() ?? []).Where(parameter => parameter!["in"]!.GetValue<string>() == "query" && random.Next(3) == 0)
            .Select(parameter => (Name: parameter!["name"]!.GetValue<string>(), Value: random.Next(3) == 0 ? Text(random) : Valid(parameter["schema"]!, random)))

            // The agent here promises to power off and never does: a stop takes all the time that it is given, and everybody else waits for it.
            .Select(parameter => $"{parameter.Name}={Uri.EscapeDataString(Safe(parameter.Name == "grace_seconds" && byte.TryParse(parameter.Value, out _) ? "1" : parameter.Value))}");
        var request = new HttpRequestMessage(HttpMethod.Parse(operation.Method), new Uri($"{path}?{string.Join('&', query)}&follow=0", UriKind.Relative));
        request.Headers.TryAddWithoutValidation("Accept", "*/*");
        if (operation.Definition["requestBody"]?["content"]?.AsObject().FirstOrDefault().Value is { } media)
        {
            var bytes = Body(document, media, random);
            request.Content = new ByteArrayContent(bytes);
            request.Content.Headers.ContentType = MediaTypeHeaderValue.Parse(random.Next(50) == 0 ? Pick(random, "text/plain", "application/xml", "application/json; charset=utf-16") : "application/json");
        }

        return request;
    }

    private static byte[] Body(JsonNode document, JsonNode media, Random random)
    {
        var node = media["example"] is { } example && random.Next(2) == 0 ? example.DeepClone() : Instance(document, media["schema"]!, random, depth: 0);
        for (var changes = random.Next(3); changes > 0; changes--)
        {
            Mutate(node, random);
        }

        var text = node?.ToJsonString() ?? "null";
        return random.Next(20) switch
        {
            0 => Encoding.UTF8.GetBytes(text)[..random.Next(text.Length)],
            1 => Encoding.Unicode.GetBytes(text),
            2 => [.. Encoding.UTF8.GetBytes(text), 0xff, 0xfe],
            3 => Encoding.UTF8.GetBytes(new string('[', random.Next(1, 2000)) + text),
            4 => Encoding.UTF8.GetBytes(text.Replace("\"name\"", "\"name\": \"dup\", \"name\"", StringComparison.Ordinal)),
            _ => Encoding.UTF8.GetBytes(text),
        };
    }

    private static JsonNode? Instance(JsonNode document, JsonNode schema, Random random, int depth)
    {
        if (schema["$ref"]?.GetValue<string>() is { } reference)
        {
            schema = document["components"]!["schemas"]![reference.Split('/')[^1]]!;
        }

        if (depth > 4)
        {
            return null;
        }

        if (schema["enum"] is JsonArray words)
        {
            return words[random.Next(words.Count)]?.DeepClone();
        }

        if ((schema["oneOf"] ?? schema["allOf"]) is JsonArray { Count: > 0 } choices)
        {
            return Instance(document, schema["oneOf"] is null ? choices[0]! : choices[random.Next(choices.Count)]!, random, depth);
        }

        if (schema["properties"] is JsonObject properties)
        {
            var required = schema["required"]?.AsArray().Select(name => name!.GetValue<string>()).ToHashSet(StringComparer.Ordinal) ?? [];
            var result = new JsonObject();
            foreach (var (name, property) in properties.Where(member => random.Next(required.Contains(member.Key) ? 10 : 3) != 1))
            {
                result[name] = name switch
                {
                    "name" => Pick(random, "f1", "f2", "f3", Text(random)),
                    "plugin" => Pick(random, "hello", Text(random)),
                    "replicas" => random.Next(0, 3),
                    _ => Instance(document, property!, random, depth + 1),
                };
            }

            return result;
        }

        return Type(schema, random) switch
        {
            "string" => Text(random),
            "integer" or "number" => random.Next(-1, 600),
            "boolean" => random.Next(2) == 0,
            "array" => new JsonArray([.. Enumerable.Range(0, random.Next(3)).Select(_ => schema["items"] is { } items ? Instance(document, items, random, depth + 1) : null)]),
            "object" => new JsonObject { [Safe(Text(random))] = schema["additionalProperties"] is JsonObject values ? Instance(document, values, random, depth + 1) : "x" },
            _ => HostileValues[random.Next(HostileValues.Length)]?.DeepClone(),
        };
    }

    private static void Mutate(JsonNode? node, Random random)
    {
        if (node is not JsonObject { Count: > 0 } target)
        {
            return;
        }

        var key = target.ElementAt(random.Next(target.Count)).Key;
        switch (random.Next(5))
        {
            case 0:
                target.Remove(key);
                break;
            case 1:
                target[Safe(Text(random))] = 1;
                break;
            case 2 when target[key] is JsonObject inner:
                Mutate(inner, random);
                break;
            case 3:
                target[key] = Text(random);
                break;
            default:
                target[key] = HostileValues[random.Next(HostileValues.Length)]?.DeepClone();
                break;
        }
    }

    private static string Valid(JsonNode schema, Random random) =>
        schema["enum"] is JsonArray words ? words[random.Next(words.Count)]!.GetValue<string>()
        : Type(schema, random) == "integer" ? random.Next(0, 100).ToString(CultureInfo.InvariantCulture)
        : schema["items"]?["enum"] is JsonArray items ? items[random.Next(items.Count)]!.GetValue<string>() : "x";

    private static string Type(JsonNode schema, Random random) => schema["type"] switch
    {
        JsonArray types => types[random.Next(types.Count)]!.GetValue<string>(),
        JsonValue type => type.GetValue<string>(),
        _ => string.Empty,
    };

    private static string Text(Random random) => HostileTexts[random.Next(HostileTexts.Length)];

    /// <summary>Without lone surrogates, which no client can put into a URL or a key.</summary>
    private static string Safe(string text) => text.Replace("\ud800", "\ufffd", StringComparison.Ordinal);

    private static string Pick(Random random, params string[] words) => words[random.Next(words.Length)];

    [GeneratedRegex(@"\{(?<word>[a-z0-9_]+)\}", RegexOptions.NonBacktracking)]
    private static partial Regex Placeholder();

    private sealed record Operation(string Path, string Method, JsonObject Definition);
}
