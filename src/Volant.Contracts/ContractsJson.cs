using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;
using Volant.Contracts.Api;
using Volant.Contracts.Manifests;

namespace Volant.Contracts;

/// <summary>Reflection-free serialisation of every type that crosses a process boundary.</summary>
[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower,
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(AgentClock))]
[JsonSerializable(typeof(AgentState))]
[JsonSerializable(typeof(ConsoleNotice))]
[JsonSerializable(typeof(CreateVmRequest))]
[JsonSerializable(typeof(Artifact))]
[JsonSerializable(typeof(IReadOnlyList<Artifact>))]
[JsonSerializable(typeof(ArtifactTransfer))]
[JsonSerializable(typeof(IReadOnlyList<ArtifactTransfer>))]
[JsonSerializable(typeof(PutArtifactRequest))]
[JsonSerializable(typeof(CreateDeploymentRequest))]
[JsonSerializable(typeof(CreateRouteRequest))]
[JsonSerializable(typeof(PublishedRoute))]
[JsonSerializable(typeof(IReadOnlyList<PublishedRoute>))]
[JsonSerializable(typeof(Deployment))]
[JsonSerializable(typeof(IReadOnlyList<Deployment>))]
[JsonSerializable(typeof(RolloutStrategy))]
[JsonSerializable(typeof(UpdateDeploymentRequest))]
[JsonSerializable(typeof(EventGap))]
[JsonSerializable(typeof(ExecControl))]
[JsonSerializable(typeof(ExecEnd))]
[JsonSerializable(typeof(ExecRequest))]
[JsonSerializable(typeof(ExecResult))]
[JsonSerializable(typeof(FileStat))]
[JsonSerializable(typeof(GuestMetrics))]
[JsonSerializable(typeof(IdentifyRequest))]
[JsonSerializable(typeof(DevToolsInfo))]
[JsonSerializable(typeof(HealthResponse))]
[JsonSerializable(typeof(IReadOnlyList<Vm>))]
[JsonSerializable(typeof(LogGap))]
[JsonSerializable(typeof(LogLine))]
[JsonSerializable(typeof(McpAnswer))]
[JsonSerializable(typeof(McpCommand))]
[JsonSerializable(typeof(PluginEnabled))]
[JsonSerializable(typeof(PluginList))]
[JsonSerializable(typeof(PluginManifest))]
[JsonSerializable(typeof(Problem))]
[JsonSerializable(typeof(StoredArtifact))]
[JsonSerializable(typeof(SystemInfo))]
[JsonSerializable(typeof(SystemStatus))]
[JsonSerializable(typeof(SystemSummary))]
[JsonSerializable(typeof(VfioBinding))]
[JsonSerializable(typeof(VfioDeviceInfo))]
[JsonSerializable(typeof(VfioDeviceRequest))]
[JsonSerializable(typeof(VfioDevicesRequest))]
[JsonSerializable(typeof(IReadOnlyList<VfioGroup>))]
[JsonSerializable(typeof(VfioGroupPaths))]
[JsonSerializable(typeof(VfioUnbinding))]
[JsonSerializable(typeof(VfioValidation))]
[JsonSerializable(typeof(Volume))]
[JsonSerializable(typeof(IReadOnlyList<Volume>))]
[JsonSerializable(typeof(CreateVolumeRequest))]
[JsonSerializable(typeof(ResizeVolumeRequest))]
[JsonSerializable(typeof(Vm))]
[JsonSerializable(typeof(VmConfig))]
[JsonSerializable(typeof(VmConfigVersion))]
[JsonSerializable(typeof(IReadOnlyList<VmConfigVersion>))]
[JsonSerializable(typeof(IReadOnlyList<string>))]
[JsonSerializable(typeof(VmEvent))]
public sealed partial class ContractsJson : JsonSerializerContext
{
    /// <summary>For documents from outside: also refuses duplicate members and deep nesting.</summary>
    public static ContractsJson Strict => field ??= new ContractsJson(new JsonSerializerOptions(Default.Options)
    {
        AllowDuplicateProperties = false,
        MaxDepth = StrictJson.MaxDepth,
        NumberHandling = JsonNumberHandling.Strict,
    });

    /// <summary>For answers of the API: quotes and non-ASCII letters in messages stay readable.</summary>
    /// <remarks>Answers are JSON by their content type and are never embedded in HTML, which is what the stricter encoder guards against.</remarks>
    public static ContractsJson Readable => field ??= new ContractsJson(new JsonSerializerOptions(Default.Options) { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping });

    /// <summary>Makes <paramref name="options"/> write exactly what <see cref="Default"/> writes.</summary>
    /// <remarks>Adding the resolver alone is not enough: the host's own naming policy would win.</remarks>
    public static void Apply(JsonSerializerOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        options.TypeInfoResolverChain.Insert(0, Default);
        options.PropertyNamingPolicy = Default.Options.PropertyNamingPolicy;
        options.DefaultIgnoreCondition = Default.Options.DefaultIgnoreCondition;
        options.NumberHandling = JsonNumberHandling.Strict;
        options.Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping;
    }
}
