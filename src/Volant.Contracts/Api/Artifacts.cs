using System.Text.Json.Serialization;
using Volant.Contracts.Manifests;

namespace Volant.Contracts.Api;

/// <summary>A file that belongs to a version of a plugin (contract §2, artifacts).</summary>
public sealed record Artifact
{
    /// <summary>Number of the record.</summary>
    public required long Id { get; init; }

    /// <summary>Plugin that it belongs to.</summary>
    public required string PluginName { get; init; }

    /// <summary>Version of the plugin.</summary>
    public required string Version { get; init; }

    /// <summary>Name, unique within the version.</summary>
    public required string ArtifactName { get; init; }

    /// <summary><c>kernel</c>, <c>initramfs</c>, <c>rootfs</c>, <c>disk</c> or another word.</summary>
    public required string Kind { get; init; }

    /// <summary>Where it comes from.</summary>
    public string? SourceUrl { get; init; }

    /// <summary>SHA-256 as 64 hex digits.</summary>
    public string? Checksum { get; init; }

    /// <summary>Format of the file, <c>raw</c> for instance.</summary>
    public string? Format { get; init; }

    /// <summary>Path on the daemon's host, below an image directory.</summary>
    public string? LocalPath { get; init; }

    /// <summary>Size in bytes.</summary>
    public long? SizeBytes { get; init; }

    /// <summary>When it was recorded.</summary>
    public required DateTimeOffset CreatedAt { get; init; }

    /// <summary>When the record changed last.</summary>
    public required DateTimeOffset UpdatedAt { get; init; }
}

/// <summary>Body of <c>POST /api/v1/plugins/{plugin}/artifacts</c>; a record of that version and name is replaced.</summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed record PutArtifactRequest
{
    /// <summary>Version of the plugin, 1 to 128 characters.</summary>
    public string? Version { get; init; }

    /// <summary>Name, 1 to 128 characters.</summary>
    public string? ArtifactName { get; init; }

    /// <summary>One word of lower-case letters, digits, <c>-</c> or <c>_</c>, at most 32.</summary>
    public string? Kind { get; init; }

    /// <summary>http(s)://, volant://sha256/, file:// or an absolute path.</summary>
    public string? SourceUrl { get; init; }

    /// <summary>SHA-256, with or without the prefix <c>sha256:</c>.</summary>
    public string? Checksum { get; init; }

    /// <summary>One word of lower-case letters, digits, <c>-</c> or <c>_</c>, at most 32.</summary>
    public string? Format { get; init; }

    /// <summary>Absolute path on the daemon's host, below an image directory.</summary>
    public string? LocalPath { get; init; }

    /// <summary>Size in bytes, 0 or more.</summary>
    public long? SizeBytes { get; init; }
}

/// <summary>Rules of artifact records. Pure; reports every fault at once.</summary>
public static class ArtifactRules
{
    private const int MaxWord = 32;
    private const int MaxPath = 4096;

    /// <summary>Trims, and writes the checksum as bare lower-case hex.</summary>
    public static PutArtifactRequest Normalise(PutArtifactRequest request)
    {
        ArgumentNullException.ThrowIfNull(request);
        return request with { Checksum = request.Checksum is { } sum ? Sha256Text.Normalise(sum.Trim()) : null };
    }

    /// <summary>Faults of a normalised request.</summary>
    public static IReadOnlyList<FieldError> Validate(PutArtifactRequest request)
    {
        ArgumentNullException.ThrowIfNull(request);
        var faults = new FaultList();
        faults.Text("version", request.Version, 128);
        faults.Text("artifact_name", request.ArtifactName, 128);
        faults.Require(IsWord(request.Kind), "kind", "must be 1 to 32 lower-case letters, digits, '-' or '_'");
        faults.Require(request.Format is null || IsWord(request.Format), "format", "must be 1 to 32 lower-case letters, digits, '-' or '_'");
        faults.Require(request.SourceUrl is null || (request.SourceUrl.Length <= MaxPath && MediaReference.TryParse(request.SourceUrl, out _)), "source_url", "must be http(s)://…, volant://sha256/<64 hex>, file:///… or an absolute path");
        faults.Require(request.Checksum is null || Sha256Text.IsValid(request.Checksum), "checksum", "must be 'sha256:' and 64 hex digits, or 64 hex digits");
        faults.Require(request.LocalPath is null || (request.LocalPath is ['/', ..] && request.LocalPath.Length <= MaxPath && !request.LocalPath.Any(char.IsControl)), "local_path", "must be an absolute path");
        faults.Require(request.SizeBytes is null or >= 0, "size_bytes", "must be at least 0");
        return faults.All;
    }

    private static bool IsWord(string? text) => text is { Length: > 0 and <= MaxWord } && text.All(c => char.IsAsciiLetterLower(c) || char.IsAsciiDigit(c) || c is '-' or '_');
}

/// <summary>Something on its way into the artifact cache: a download, or a file of the host that is copied.</summary>
public sealed record ArtifactTransfer
{
    /// <summary>Number of the transfer, from 1 at every start of the daemon.</summary>
    public required long Id { get; init; }

    /// <summary>URL without its query, or path.</summary>
    public required string Source { get; init; }

    /// <summary>See <see cref="TransferStates"/>.</summary>
    public required string State { get; init; }

    /// <summary>Bytes that have come.</summary>
    public long ReceivedBytes { get; init; }

    /// <summary>Bytes in all, when that is known.</summary>
    public long? TotalBytes { get; init; }

    /// <summary>SHA-256 of what came, when it is done.</summary>
    public string? Sha256 { get; init; }

    /// <summary>Why it failed, in words.</summary>
    public string? Message { get; init; }

    /// <summary>When it began.</summary>
    public required DateTimeOffset StartedAt { get; init; }
}

/// <summary>Values of <see cref="ArtifactTransfer.State"/>.</summary>
public static class TransferStates
{
    /// <summary>Under way.</summary>
    public const string Running = "running";

    /// <summary>In the cache.</summary>
    public const string Done = "done";

    /// <summary>Nothing of it is kept.</summary>
    public const string Failed = "failed";
}
