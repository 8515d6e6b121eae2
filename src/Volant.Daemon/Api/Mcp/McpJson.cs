using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;
using Volant.Contracts;

namespace Volant.Daemon.Api.Mcp;

/// <summary>Reflection-free serialisation of what tools take and give that is no type of the API; the rest is <see cref="ContractsJson"/>'s.</summary>
/// <remarks>Apart from <see cref="ContractsJson"/>, which the agent in every guest carries, too.</remarks>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(ActionAnswer))]
[JsonSerializable(typeof(Capabilities))]
[JsonSerializable(typeof(CommandOutcome))]
[JsonSerializable(typeof(DeletedThing))]
[JsonSerializable(typeof(DeploymentDetails))]
[JsonSerializable(typeof(DeploymentListing))]
[JsonSerializable(typeof(PluginDetails))]
[JsonSerializable(typeof(PluginListing))]
[JsonSerializable(typeof(SystemOverview))]
[JsonSerializable(typeof(ToolError))]
[JsonSerializable(typeof(VmDetails))]
[JsonSerializable(typeof(VmListing))]
[JsonSerializable(typeof(VmLogs))]
[JsonSerializable(typeof(VmSummary))]
[JsonSerializable(typeof(bool))]
[JsonSerializable(typeof(int?))]
[JsonSerializable(typeof(object))]
[JsonSerializable(typeof(string))]
[JsonSerializable(typeof(string[]))]
[JsonSerializable(typeof(Dictionary<string, string>))]
[JsonSerializable(typeof(JsonElement?))]
[JsonSerializable(typeof(JsonObject))]
internal sealed partial class McpJson : JsonSerializerContext
{
    /// <summary>What tools are served with: readable text.</summary>
    public static JsonSerializerOptions Tools => field ??= new JsonSerializerOptions(ContractsJson.Readable.Options)
    {
        TypeInfoResolver = JsonTypeInfoResolver.Combine(Default, ContractsJson.Default),
    };

    /// <summary>For results outside of a tool call.</summary>
    public static McpJson Readable => field ??= new McpJson(new JsonSerializerOptions(Default.Options) { Encoder = ContractsJson.Readable.Options.Encoder });
}
