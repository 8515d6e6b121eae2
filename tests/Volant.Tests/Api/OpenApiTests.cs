using System.Text.Json.Nodes;

namespace Volant.Tests.Api;

/// <summary>The API document: whole, and the same as the committed one.</summary>
public sealed class OpenApiTests : IAsyncLifetime
{
    private ApiFixture _api = null!;
    private JsonNode _document = null!;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    private IEnumerable<(string Path, string Method, JsonObject Operation)> Operations =>
        from path in _document["paths"]!.AsObject()
        from operation in path.Value!.AsObject()
        where operation.Key is not "parameters"
        select (path.Key, operation.Key, operation.Value!.AsObject());

    public async ValueTask InitializeAsync()
    {
        _api = await ApiFixture.StartAsync();
        _document = JsonNode.Parse(await _api.Client.GetStringAsync("/openapi", Cancel))!;
    }

    public ValueTask DisposeAsync() => _api.DisposeAsync();

    [Fact]
    public async Task The_committed_document_is_what_the_code_says()
    {
        var committed = JsonNode.Parse(await Repository.ReadAsync("docs/api-reference/openapi.json"));

        Assert.True(JsonNode.DeepEquals(committed, _document), "docs/api-reference/openapi.json is out of date: run scripts/openapi.sh and commit the result");
    }

    [Fact]
    public void Every_operation_is_named_summarised_and_tagged_and_names_are_unique()
    {
        Assert.All(Operations, entry =>
        {
            var (path, method, operation) = entry;
            var where = $"{method} {path}";
            Assert.True(operation["operationId"]?.GetValue<string>() is { } id && char.IsAsciiLetterLower(id[0]), where);
            Assert.True(operation["summary"]?.GetValue<string>().Length > 0, where);
            Assert.True(operation["tags"]?.AsArray().Count == 1, where);
        });
        var ids = Operations.Select(entry => entry.Operation["operationId"]!.GetValue<string>()).ToList();
        Assert.Equal(ids.Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal), ids.Order(StringComparer.Ordinal));
    }

    [Fact]
    public void Every_parameter_is_described_and_has_a_schema_with_a_type() => Assert.All(Operations, entry => Assert.All(entry.Operation["parameters"]?.AsArray() ?? [], parameter =>
    {
        var where = $"{entry.Method} {entry.Path} {parameter!["name"]}";
        Assert.True(parameter["description"]?.GetValue<string>().Length > 0, where);
        Assert.True(parameter["schema"]?["type"] is not null, where);
    }));

    [Fact]
    public void Every_operation_has_a_success_and_our_problem_for_each_error() => Assert.All(Operations, entry =>
    {
        var where = $"{entry.Method} {entry.Path}";
        var responses = entry.Operation["responses"]!.AsObject();
        Assert.True(responses.Any(response => response.Key[0] is '1' or '2'), where);

        // 406 is only ever said of the protocol's own messages, in its own form.
        Assert.All(responses.Where(response => response.Key[0] is '4' or '5' && response.Key != "406"), response =>
            Assert.True(response.Value!["content"]?["application/problem+json"]?["schema"]?["$ref"]?.GetValue<string>() == "#/components/schemas/Problem", $"{where} {response.Key}"));
        Assert.True(entry.Path == "/healthz" || (responses.ContainsKey("401") && responses.ContainsKey("429")), where);
    });

    [Fact]
    public void A_body_is_only_where_one_is_read() => Assert.All(
        Operations.Where(entry => entry.Method is "get" or "delete" or "head"), entry => Assert.True(entry.Operation["requestBody"] is null, $"{entry.Method} {entry.Path}"));

    [Fact]
    public void Enumerations_are_strings_and_the_document_is_of_version_3_1()
    {
        Assert.StartsWith("3.1", _document["openapi"]!.GetValue<string>(), StringComparison.Ordinal);
        var status = _document["components"]!["schemas"]!["VmStatus"]!;
        Assert.Equal("string", status["type"]!.GetValue<string>());
        Assert.Contains("running", status["enum"]!.AsArray().Select(word => word!.GetValue<string>()));
    }
}
