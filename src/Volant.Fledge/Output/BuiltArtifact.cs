namespace Volant.Fledge.Output;

/// <summary>What was built.</summary>
/// <param name="Artifact">Absolute path of the artifact.</param>
/// <param name="Sha256">Its checksum, 64 hex digits.</param>
/// <param name="SizeBytes">Its size.</param>
/// <param name="Entries">Number of entries in the archive, or of files in the disk.</param>
/// <param name="UnpackedBytes">Size of the archive, uncompressed: the guest needs that much memory for it, and twice while it starts. Of a disk, its size.</param>
/// <param name="Manifest">Absolute path of the manifest; null when there is none.</param>
internal sealed record BuiltArtifact(string Artifact, string Sha256, long SizeBytes, int Entries, long UnpackedBytes, string? Manifest);
