using System.Text.Json.Serialization;
using Volant.Fledge.Commands;
using Volant.Fledge.Initramfs;

namespace Volant.Fledge;

/// <summary>What <c>--json</c> prints.</summary>
[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower,
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
    WriteIndented = true)]
[JsonSerializable(typeof(BuiltArtifact))]
[JsonSerializable(typeof(BuiltModules))]
[JsonSerializable(typeof(InspectedArchive))]
internal sealed partial class FledgeJson : JsonSerializerContext;
