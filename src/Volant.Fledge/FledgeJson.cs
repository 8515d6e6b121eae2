using System.Text.Json.Serialization;
using Volant.Fledge.Commands;
using Volant.Fledge.Inspection;
using Volant.Fledge.Output;

namespace Volant.Fledge;

/// <summary>What <c>--json</c> prints.</summary>
[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower,
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
    WriteIndented = true)]
[JsonSerializable(typeof(BuiltArtifact))]
[JsonSerializable(typeof(BuiltModules))]
[JsonSerializable(typeof(InspectedArtifact))]
internal sealed partial class FledgeJson : JsonSerializerContext;
