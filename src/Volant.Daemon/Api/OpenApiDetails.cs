using System.Globalization;
using System.Text.Json.Nodes;
using Microsoft.AspNetCore.OpenApi;
using Microsoft.OpenApi;
using Volant.Contracts.Api;
using Volant.Daemon.Store;

namespace Volant.Daemon.Api;

/// <summary>What the API document says beyond what the code tells by itself: parameters, problems, keys, examples.</summary>
/// <remarks>A parameter means the same on every route, so each is described once, by name.</remarks>
internal static class OpenApiDetails
{
    private const string KeyHeader = "apiKey";
    private const string Bearer = "bearer";

    private static readonly Dictionary<string, (string Description, Func<OpenApiSchema> Schema)> Parameters = new(StringComparer.Ordinal)
    {
        ["action"] = ("Name of an action of the manifest.", () => Text(64)),
        ["artifact"] = ("Name of an artifact.", () => Text(128)),
        ["follow"] = ("1 or true: go on with new ones as they come.", () => Words("0", "1", "false", "true")),
        ["grace_seconds"] = ("Seconds that the guest may take to power off before it is forced.", () => Number(0, 3600, 10)),
        ["gid"] = ("Group of the file; its own, or 0, when absent.", () => Number(0, int.MaxValue, null)),
        ["limit"] = ("Most items to return.", () => Number(1, 10_000, null)),
        ["logs"] = ("1 or true: log lines as VM_LOG events, too. They have no id.", () => Words("0", "1", "false", "true")),
        ["mode"] = ("Permissions in octal; the file's own, or 0644, when absent.", () => new OpenApiSchema { Type = JsonSchemaType.String, Pattern = "^[0-7]{1,5}$" }),
        ["name"] = ("Name of the VM or deployment.", () => Label()),
        ["offset"] = ("Items to skip.", () => Number(0, int.MaxValue, 0)),
        ["order"] = ("Direction of the order.", () => Words("asc", "desc")),
        ["parents"] = ("1 or true: make missing directories.", () => Words("0", "1", "false", "true")),
        ["path"] = ("Path in the guest.", () => Text(4096)),
        ["plugin"] = ("Name of a plugin.", () => Label()),
        ["port"] = ("Port on the host, or inside the VM for a tunnel.", () => Number(1, 65_535, null)),
        ["protocol"] = ("Transport protocol.", () => Words(PortProtocols.Tcp, PortProtocols.Udp)),
        ["q"] = ("Part of the name, the address or the runtime.", () => Text(256)),
        ["recursive"] = ("1 or true: delete a directory with all that is in it.", () => Words("0", "1", "false", "true")),
        ["runtime"] = ("Runtime family.", () => Text(128)),
        ["sha256"] = ("SHA-256 of the file.", () => new OpenApiSchema { Type = JsonSchemaType.String, Pattern = "^[0-9a-f]{64}$" }),
        ["since"] = ("Only lines from this time on, RFC 3339.", () => new OpenApiSchema { Type = JsonSchemaType.String, Format = "date-time" }),
        ["sort"] = ("What to order by.", () => Words([.. VmFilter.SortColumns])),
        ["status"] = ("Only VMs in one of these statuses; may be repeated, or a comma list.", () => new OpenApiSchema { Type = JsonSchemaType.Array, Items = Words([.. Enum.GetValues<VmStatus>().Select(status => status.ToText())]) }),
        ["stream"] = ("Only lines of this stream.", () => Words("stdout", "stderr", "console")),
        ["tail"] = ("Most earlier lines to begin with.", () => Number(0, 10_000, 1000)),
        ["timeout"] = ("Seconds to wait, with wait.", () => Number(1, 3600, 120)),
        ["uid"] = ("Owner of the file; its own, or 0, when absent.", () => Number(0, int.MaxValue, null)),
        ["version"] = ("Version of the plugin.", () => Text(128)),
        ["volume"] = ("Name of the volume.", () => Label()),
        ["wait"] = ("'ready': answer when the VM is ready.", () => Words("ready")),
    };

    /// <summary>Query parameters that endpoints read by hand, and whether they are required, by operation.</summary>
    private static readonly Dictionary<string, (string Name, bool Required)[]> ReadByHand = new(StringComparer.Ordinal)
    {
        ["listVMs"] = [("status", false)],
    };

    /// <summary>Adds everything to the document's options.</summary>
    public static void Apply(OpenApiOptions options)
    {
        options.AddSchemaTransformer((schema, context, _) =>
        {
            if (context.JsonTypeInfo.Type.IsEnum)
            {
                schema.Type = JsonSchemaType.String;
            }

            return Task.CompletedTask;
        });
        options.AddOperationTransformer(async (operation, context, cancellationToken) =>
        {
            DescribeParameters(operation);
            await DescribeProblemsAsync(operation, context, cancellationToken);
            DescribeMessages(operation);
        });
        options.AddDocumentTransformer((document, _, _) =>
        {
            Describe(document);
            ManifestSchema.Complete(document);
            return Task.CompletedTask;
        });
    }

    private static void Describe(OpenApiDocument document)
    {
        document.Info.Title = "Volant API";
        document.Info.Version = "v1";
        document.Info.Description = "MicroVMs as easy as containers: VMs, deployments, plugins, their artifacts and events. Errors are RFC 9457 problem details with a stable `code`.";
        document.Info.License = new OpenApiLicense { Name = "Apache-2.0" };
        document.Servers = [];
        document.Components ??= new OpenApiComponents();
        document.Components.SecuritySchemes = new Dictionary<string, IOpenApiSecurityScheme>(StringComparer.Ordinal)
        {
            [KeyHeader] = new OpenApiSecurityScheme { Type = SecuritySchemeType.ApiKey, In = ParameterLocation.Header, Name = "X-Volant-API-Key", Description = "VOLANT_API_KEY of the daemon." },
            [Bearer] = new OpenApiSecurityScheme { Type = SecuritySchemeType.Http, Scheme = "bearer", Description = "The same key as a bearer token." },
        };
        document.Security =
        [
            new OpenApiSecurityRequirement { [new OpenApiSecuritySchemeReference(KeyHeader, document)] = [] },
            new OpenApiSecurityRequirement { [new OpenApiSecuritySchemeReference(Bearer, document)] = [] },
        ];
        if (document.Paths.TryGetValue("/healthz", out var health))
        {
            foreach (var (_, operation) in health.Operations ?? [])
            {
                operation.Security = [];
            }
        }
    }

    private static void DescribeParameters(OpenApiOperation operation)
    {
        operation.Parameters ??= [];
        foreach (var (name, required) in ReadByHand.GetValueOrDefault(operation.OperationId ?? string.Empty, []))
        {
            operation.Parameters.Insert(0, new OpenApiParameter { Name = name, In = ParameterLocation.Query, Required = required });
        }

        foreach (var parameter in operation.Parameters.OfType<OpenApiParameter>())
        {
            if (parameter.Name is { } name && Parameters.TryGetValue(name, out var details))
            {
                parameter.Description = details.Description;
                parameter.Schema = details.Schema();
            }
        }
    }

    /// <summary>What one route takes and gives besides commands: messages of JSON-RPC 2.0, whose own schema is the protocol's.</summary>
    private static void DescribeMessages(OpenApiOperation operation)
    {
        if (operation.OperationId != "callMCP" || operation.RequestBody?.Content?["application/json"] is not OpenApiMediaType { Schema: { } command } body)
        {
            return;
        }

        var message = new OpenApiSchema
        {
            Type = JsonSchemaType.Object,
            Description = "A message of the Model Context Protocol.",
            Required = new HashSet<string>(StringComparer.Ordinal) { "jsonrpc" },
            Properties = new Dictionary<string, IOpenApiSchema>(StringComparer.Ordinal)
            {
                ["jsonrpc"] = Words("2.0"),
                ["id"] = new OpenApiSchema { Type = JsonSchemaType.String | JsonSchemaType.Integer },
                ["method"] = Text(128),
                ["params"] = new OpenApiSchema { Type = JsonSchemaType.Object },
            },
        };
        body.Schema = new OpenApiSchema { OneOf = [command, message] };
        var error = new OpenApiSchema
        {
            Type = JsonSchemaType.Object,
            Description = "A JSON-RPC error.",
            Properties = new Dictionary<string, IOpenApiSchema>(StringComparer.Ordinal)
            {
                ["jsonrpc"] = Words("2.0"),
                ["error"] = new OpenApiSchema { Type = JsonSchemaType.Object },
            },
        };
        operation.Responses!["406"] = new OpenApiResponse { Description = Reason(406), Content = new Dictionary<string, OpenApiMediaType>(StringComparer.Ordinal) };
        AddAnswer("200", "text/event-stream", new OpenApiSchema { Type = JsonSchemaType.String });
        AddAnswer("400", "application/json", error);
        AddAnswer("404", "application/json", error);
        AddAnswer("406", "application/json", error);

        void AddAnswer(string status, string type, OpenApiSchema schema) => operation.Responses[status].Content![type] = new OpenApiMediaType { Schema = schema };
    }

    /// <summary>Every problem has our schema, and every route may answer that the key is wrong, or that there are too many calls.</summary>
    private static async Task DescribeProblemsAsync(OpenApiOperation operation, OpenApiOperationTransformerContext context, CancellationToken cancellationToken)
    {
        operation.Responses ??= [];
        var path = context.Description.RelativePath;
        foreach (var status in path == "healthz" ? [403] : new[] { 401, 403, 429 })
        {
            operation.Responses.TryAdd(status.ToString(CultureInfo.InvariantCulture), new OpenApiResponse { Description = Reason(status) });
        }

        var schema = await context.GetOrCreateSchemaAsync(typeof(Problem), null, cancellationToken);
        context.Document?.AddComponent("Problem", schema);
        foreach (var (status, response) in operation.Responses)
        {
            if (status[0] is '4' or '5' && response is OpenApiResponse problem)
            {
                problem.Description = Reason(int.Parse(status, NumberStyles.None, CultureInfo.InvariantCulture));
                problem.Content = new Dictionary<string, OpenApiMediaType>(StringComparer.Ordinal)
                {
                    ["application/problem+json"] = new() { Schema = new OpenApiSchemaReference("Problem", context.Document) },
                };
            }
        }

        AddExample(operation);
    }

    private static void AddExample(OpenApiOperation operation)
    {
        var example = operation.OperationId switch
        {
            "createVM" => """{"name": "web", "plugin": "hello", "cpu_cores": 1, "memory_mb": 256, "config": {"restart": {"policy": "on-failure"}}}""",
            "updateVMConfig" => """{"resources": {"memory_mb": 512}, "network": null}""",
            "createDeployment" => """{"name": "web", "replicas": 3, "config": {"plugin": "hello"}, "strategy": {"max_surge": 1, "max_unavailable": 0}}""",
            "scaleDeployment" => """{"replicas": 5}""",
            "setPluginEnabled" => """{"enabled": false}""",
            "createRoute" => """{"host_port": 8080, "protocol": "tcp", "backend": {"type": "bridge", "ip": "192.168.127.2", "port": 80}}""",
            "callMCP" => """{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "list_vms", "arguments": {"status": "running"}}}""",
            "createArtifact" => """{"version": "1.0.0", "artifact_name": "model", "kind": "disk", "source_url": "https://images.example/model.img", "format": "raw"}""",
            "getVFIODeviceInfo" => """{"pci_address": "0000:01:00.0"}""",
            "validateVFIODevices" or "bindVFIODevices" => """{"pci_addresses": ["0000:01:00.0"], "allowlist": ["10de:*"]}""",
            "listIOMMUGroups" or "unbindVFIODevices" or "getVFIOGroupPaths" => """{"pci_addresses": ["0000:01:00.0"]}""",
            "installPlugin" => """
                {"schema_version": "1.0", "name": "hello", "version": "1.0.0", "resources": {"cpu_cores": 1, "memory_mb": 256},
                 "workload": {"type": "http", "entrypoint": ["/bin/hello"], "base_url": "http://127.0.0.1:8080"}, "initramfs": {"url": "/var/lib/volant/images/hello.cpio.gz"}}
                """,
            _ => null,
        };
        if (example is not null && operation.RequestBody?.Content is { } content)
        {
            foreach (var media in content.Values)
            {
                media.Example = JsonNode.Parse(example);
            }
        }
    }

    private static string Reason(int status) => status switch
    {
        400 => "The request is malformed; `errors` names every offending field.",
        401 => "The API key is missing or wrong.",
        403 => "The address, host name or browser origin of the caller is not allowed.",
        404 => "There is no such thing.",
        406 => "`Accept` does not name what is answered.",
        409 => "It conflicts with the current state.",
        412 => "It changed since it was read: `If-Match` does not match.",
        413 => "The body is too large.",
        415 => "The body is not JSON.",
        422 => "It is well-formed, but this host cannot do it.",
        429 => "Too many calls; `Retry-After` says when to try again.",
        502 => "The guest could not be reached.",
        503 => "The host cannot do it now.",
        504 => "The guest did not answer in time.",
        507 => "The disk is full.",
        _ => "The daemon failed.",
    };

    private static OpenApiSchema Text(int most) => new() { Type = JsonSchemaType.String, MaxLength = most };

    private static OpenApiSchema Label() => new() { Type = JsonSchemaType.String, MaxLength = 63, Pattern = "^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$" };

    private static OpenApiSchema Words(params string[] words) => new() { Type = JsonSchemaType.String, Enum = [.. words.Select(word => (JsonNode)JsonValue.Create(word))] };

    private static OpenApiSchema Number(int least, int most, int? fallback) => new()
    {
        Type = JsonSchemaType.Integer,
        Format = "int32",
        Minimum = least.ToString(CultureInfo.InvariantCulture),
        Maximum = most.ToString(CultureInfo.InvariantCulture),
        Default = fallback is { } value ? JsonValue.Create(value) : null,
    };
}
