using System.Text.RegularExpressions;
using Microsoft.Data.Sqlite;
using Volant.Contracts.Api;
using Volant.Contracts.Manifests;

namespace Volant.Daemon.Store;

/// <content>What is known of the files of plugins.</content>
internal sealed partial class VolantStore
{
    /// <summary>Records of a plugin, of one version or of all, by version and name.</summary>
    public IReadOnlyList<Artifact> ListArtifacts(string plugin, string? version) => database.Read(c => c.Query(
        ReadArtifact,
        "SELECT * FROM artifacts WHERE plugin_name = $plugin AND ($version IS NULL OR version = $version) ORDER BY version, artifact_name",
        ("$plugin", plugin), ("$version", version)));

    /// <summary>Digests of the files of the artifact cache that anything names: a disk, a manifest, a configuration, a record of a file.</summary>
    /// <remarks>Whatever looks like a digest counts: a file too many is kept rather than one too few.</remarks>
    public IReadOnlySet<string> ListNamedArtifacts() => database.Read(c => c.Query(
        row => row.Text(0) ?? string.Empty,
        """
        SELECT sha256 FROM vm_disks UNION ALL SELECT manifest FROM plugins UNION ALL SELECT config FROM vm_configs UNION ALL SELECT config FROM deployments
        UNION ALL SELECT good_config FROM deployments UNION ALL SELECT checksum FROM artifacts UNION ALL SELECT source_url FROM artifacts
        """).SelectMany(text => Digest().Matches(text).Select(match => match.Value.ToLowerInvariant())).ToHashSet(StringComparer.Ordinal));

    [GeneratedRegex("[0-9a-fA-F]{64}", RegexOptions.CultureInvariant | RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex Digest();

    /// <summary>One record; null when there is none.</summary>
    public Artifact? FindArtifact(string plugin, string version, string name) => database.Read(c => FindArtifact(c, plugin, version, name));

    /// <summary>Writes a record, or replaces the one of that version and name.</summary>
    /// <exception cref="VolantException"><c>plugin_not_found</c>.</exception>
    public Task<Artifact> PutArtifactAsync(string plugin, PutArtifactRequest artifact, CancellationToken cancellationToken) => database.WriteAsync(
        c =>
        {
            try
            {
                PutArtifact(c, plugin, artifact);
                return FindArtifact(c, plugin, artifact.Version!, artifact.ArtifactName!)!;
            }
            catch (SqliteException e) when (e.SqliteExtendedErrorCode == ForeignKeyViolation)
            {
                throw new VolantException(ErrorCodes.PluginNotFound, $"Plugin '{plugin}' is not installed.", e);
            }
        },
        cancellationToken);

    /// <summary>Forgets the records of a version, or of all; returns how many there were.</summary>
    public Task<int> DeleteArtifactsAsync(string plugin, string? version, CancellationToken cancellationToken) => database.WriteAsync(
        c => c.Execute("DELETE FROM artifacts WHERE plugin_name = $plugin AND ($version IS NULL OR version = $version)", ("$plugin", plugin), ("$version", version)),
        cancellationToken);

    /// <summary>Records the files that a manifest names.</summary>
    private void PutArtifacts(SqliteConnection c, PluginManifest manifest)
    {
        void Put(string name, string kind, string? url, string? checksum, string? format) => PutArtifact(c, manifest.Name!, new PutArtifactRequest
        {
            Version = manifest.Version,
            ArtifactName = name,
            Kind = kind,
            SourceUrl = url,
            Checksum = checksum,
            Format = format,
            LocalPath = MediaReference.TryParse(url, out var reference) && reference.Scheme == MediaScheme.File ? reference.Value : null,
        });

        if (manifest.Initramfs is { } initramfs)
        {
            Put("initramfs", "initramfs", initramfs.Url, initramfs.Checksum, "cpio");
        }

        if (manifest.Rootfs is { } rootfs)
        {
            Put("rootfs", "rootfs", rootfs.Url, rootfs.Checksum, rootfs.Format);
        }

        foreach (var disk in manifest.Disks ?? [])
        {
            Put($"disk-{disk.Name}", "disk", disk.Source, disk.Checksum, disk.Format);
        }
    }

    private void PutArtifact(SqliteConnection c, string plugin, PutArtifactRequest artifact) => c.Execute(
        """
        INSERT INTO artifacts (plugin_name, version, artifact_name, kind, source_url, checksum, format, local_path, size_bytes, created_at, updated_at)
        VALUES ($plugin, $version, $name, $kind, $url, $sum, $format, $path, $size, $now, $now)
        ON CONFLICT (plugin_name, version, artifact_name)
        DO UPDATE SET kind = $kind, source_url = $url, checksum = $sum, format = $format, local_path = $path, size_bytes = $size, updated_at = $now
        """,
        ("$plugin", plugin), ("$version", artifact.Version), ("$name", artifact.ArtifactName), ("$kind", artifact.Kind), ("$url", artifact.SourceUrl), ("$sum", artifact.Checksum),
        ("$format", artifact.Format), ("$path", artifact.LocalPath), ("$size", artifact.SizeBytes), ("$now", Now));

    private static Artifact? FindArtifact(SqliteConnection c, string plugin, string version, string name) => c.Query(
        ReadArtifact,
        "SELECT * FROM artifacts WHERE plugin_name = $plugin AND version = $version AND artifact_name = $name",
        ("$plugin", plugin), ("$version", version), ("$name", name)) is [var found] ? found : null;

    private static Artifact ReadArtifact(SqliteDataReader row) => new()
    {
        Id = row.Number("id")!.Value,
        PluginName = row.Text("plugin_name")!,
        Version = row.Text("version")!,
        ArtifactName = row.Text("artifact_name")!,
        Kind = row.Text("kind")!,
        SourceUrl = row.Text("source_url"),
        Checksum = row.Text("checksum"),
        Format = row.Text("format"),
        LocalPath = row.Text("local_path"),
        SizeBytes = row.Number("size_bytes"),
        CreatedAt = row.Time("created_at")!.Value,
        UpdatedAt = row.Time("updated_at")!.Value,
    };
}
