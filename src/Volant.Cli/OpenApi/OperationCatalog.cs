using System.Text;
using System.Text.Json;
using Volant.Cli.Api;

namespace Volant.Cli.OpenApi;

/// <summary>An operation of a workload.</summary>
/// <param name="Id">Its <c>operationId</c>, or method and path where it has none.</param>
/// <param name="Method">HTTP method, upper case.</param>
/// <param name="Path">Path as the document writes it, behind the path of the document's first server.</param>
/// <param name="Summary">What it does, in the workload's words.</param>
/// <param name="TakesBody">Whether it takes a body.</param>
internal sealed record Operation(string Id, string Method, string Path, string Summary, bool TakesBody);

/// <summary>The operations of an OpenAPI document (3.0 or 3.1), which comes from a guest and is read loosely.</summary>
internal sealed class OperationCatalog
{
    private static readonly string[] Methods = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

    private OperationCatalog(IReadOnlyList<Operation> operations) => Operations = operations;

    /// <summary>In the order of the document.</summary>
    public IReadOnlyList<Operation> Operations { get; }

    /// <summary>Reads a document.</summary>
    /// <exception cref="CliException">It is neither JSON nor YAML, or has no paths.</exception>
    public static OperationCatalog Read(string vm, Reply document)
    {
        var text = Encoding.UTF8.GetString(document.Body);
        JsonElement root;
        try
        {
            root = text.AsSpan().TrimStart() is ['{', ..] ? JsonElement.Parse(document.Body) : YamlReader.Read(text);
        }
        catch (Exception e) when (e is JsonException or FormatException)
        {
            throw CliException.Failed($"The OpenAPI document of VM '{vm}' cannot be read: {e.Message}", e);
        }

        if (root.ValueKind != JsonValueKind.Object || !root.TryGetProperty("paths", out var paths) || paths.ValueKind != JsonValueKind.Object)
        {
            throw CliException.Failed($"The OpenAPI document of VM '{vm}' has no 'paths'.");
        }

        var prefix = PrefixOf(root);
        return new OperationCatalog([.. from path in paths.EnumerateObject()
                                        where path.Name.StartsWith('/') && path.Value.ValueKind == JsonValueKind.Object
                                        from operation in path.Value.EnumerateObject()
                                        where Methods.Contains(operation.Name, StringComparer.Ordinal) && operation.Value.ValueKind == JsonValueKind.Object
                                        select Make(operation.Name.ToUpperInvariant(), prefix + path.Name, operation.Value)]);
    }

    /// <summary>The operation of an id, or of <c>METHOD /path</c>.</summary>
    /// <exception cref="CliException">There is none.</exception>
    public Operation Find(string vm, string id) =>
        Operations.FirstOrDefault(operation => operation.Id == id || $"{operation.Method} {operation.Path}".Equals(id, StringComparison.OrdinalIgnoreCase)) ??
        throw new CliException(ExitCodes.Failed, $"The workload of VM '{vm}' has no operation '{id}'.") { Code = "operation_not_found", Hint = $"'volar vms operations {vm}' lists them" };

    /// <summary>The path of an operation with its parameters filled in, and the rest of them as query.</summary>
    /// <exception cref="CliException">A parameter of the path is missing.</exception>
    public static string PathOf(Operation operation, IReadOnlyList<(string Name, string Value)> parameters)
    {
        var rest = parameters.ToList();
        var path = new StringBuilder();
        var at = 0;
        while (operation.Path.IndexOf('{', at) is >= 0 and var open && operation.Path.IndexOf('}', open) is > 0 and var close)
        {
            var name = operation.Path[(open + 1)..close];
            var index = rest.FindIndex(parameter => parameter.Name == name);
            if (index < 0 || rest[index].Value is "" or "." or "..")
            {
                throw CliException.Usage($"The path {operation.Path} needs a value of '{name}': add --query {name}=VALUE.");
            }

            path.Append(operation.Path, at, open - at).Append(Uri.EscapeDataString(rest[index].Value));
            rest.RemoveAt(index);
            at = close + 1;
        }

        path.Append(operation.Path, at, operation.Path.Length - at);
        foreach (var (name, value) in rest)
        {
            path.Append(path.ToString().Contains('?', StringComparison.Ordinal) ? '&' : '?').Append(Uri.EscapeDataString(name)).Append('=').Append(Uri.EscapeDataString(value));
        }

        return path.ToString();
    }

    private static Operation Make(string method, string path, JsonElement operation) => new(
        Text(operation, "operationId") is { Length: > 0 } id ? id : $"{method} {path}", method, path, Text(operation, "summary"), operation.TryGetProperty("requestBody", out _));

    /// <summary>The path of the first server: the agent leads to its root.</summary>
    private static string PrefixOf(JsonElement root)
    {
        if (!root.TryGetProperty("servers", out var servers) || servers.ValueKind != JsonValueKind.Array || servers.GetArrayLength() == 0 || servers[0].ValueKind != JsonValueKind.Object)
        {
            return string.Empty;
        }

        var url = Text(servers[0], "url");
        var path = url.StartsWith('/') ? url : Uri.TryCreate(url, UriKind.Absolute, out var absolute) ? absolute.AbsolutePath : string.Empty;
        return path.TrimEnd('/');
    }

    private static string Text(JsonElement element, string name) =>
        element.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.String ? value.GetString() ?? string.Empty : string.Empty;
}
