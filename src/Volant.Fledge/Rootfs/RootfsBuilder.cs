using Volant.Fledge.Configuration;
using Volant.Fledge.Initramfs;
using Volant.Fledge.Manifests;
using Volant.Fledge.Oci;
using Volant.Fledge.Output;
using Volant.Fledge.Sources;

namespace Volant.Fledge.Rootfs;

/// <summary>Builds a root disk and its manifest from an image. The same inputs give the same bytes with ext4 and squashfs.</summary>
internal sealed class RootfsBuilder(BootPrograms programs, ImageSources images, Progress progress)
{
    /// <summary>Label with the wanted size of the layer above a read-only disk.</summary>
    public const string OverlaySizeLabel = "volant.rootfs_overlay_size";

    private const long Mib = 1024 * 1024;

    /// <summary>Builds; either everything is in place afterwards, or nothing has changed.</summary>
    /// <param name="config">What to build; has an image and a file system.</param>
    /// <param name="manifest">The checked manifest; null to make one from what the image says.</param>
    /// <param name="output">What <c>--output</c> says.</param>
    /// <param name="name">Name of the artifact when neither output nor manifest has one; null for the image's own.</param>
    /// <param name="cancellationToken">Stops and leaves nothing.</param>
    /// <exception cref="FledgeException">The image is damaged, hostile, too large or not there, or a tool is missing.</exception>
    public async Task<BuiltArtifact> BuildAsync(BuildConfig config, ManifestToml? manifest, string? output, string? name, CancellationToken cancellationToken)
    {
        var choice = config.Filesystem!;
        using var opened = await images.OpenAsync(config.Image!, cancellationToken);
        var names = OutputNames.ResolveImage(output, manifest?.Name ?? name ?? ImageFacts.PluginName(opened.Reference.ShortName));
        var mapped = MappingScanner.Scan(config.Mappings, [names.Artifact, names.Manifest]);
        var agent = await programs.FindAgentAsync(config.Agent, cancellationToken);
        var image = await ResolvedImage.FindAsync(opened.Source, cancellationToken);

        using var artifact = PendingFile.Create(names.Artifact);
        var format = DiskFormat.Of(choice, artifact, names.Artifact);
        var tree = new RootTree();
        int entries;
        using (format)
        {
            await new LayerUnpacker(opened.Source, progress).UnpackAsync(image, new LayerMerger(tree, format.Contents), cancellationToken);
            var facts = ImageFacts.Of(opened.Reference, image, tree);
            var additions = new RootAdditions(tree, format.Contents, cancellationToken);
            additions.AddAgent(agent!);
            additions.Add(mapped);
            manifest ??= ManifestToml.ForImage(name is null ? facts : facts with { Name = name });
            manifest.ToJson(names.Artifact, new string('0', 64), facts);
            entries = await format.WriteAsync(tree, image.Digest, cancellationToken);
            return await FinishAsync(artifact, names, manifest, facts, choice, entries, cancellationToken);
        }
    }

    private async Task<BuiltArtifact> FinishAsync(PendingFile artifact, OutputNames names, ManifestToml manifest, ImageFacts facts, FilesystemChoice choice, int entries, CancellationToken cancellationToken)
    {
        var size = RandomAccess.GetLength(artifact.Handle);
        if (choice.Preallocate)
        {
            Linux.Files.FileSpace.Reserve(artifact.Handle, size);
        }

        var sha256 = HashFile(artifact, size, cancellationToken);
        using var pending = PendingFile.Create(names.Manifest);
        KeyValuePair<string, string>? label = choice.OverlaySize is { } overlay ? KeyValuePair.Create(OverlaySizeLabel, overlay) : null;
        await pending.Stream.WriteAsync(manifest.ToJson(names.Artifact, sha256, facts, label), cancellationToken);
        artifact.CommitWith(pending);
        return new BuiltArtifact(names.Artifact, sha256, size, entries, size, names.Manifest);
    }

    private string HashFile(PendingFile artifact, long size, CancellationToken cancellationToken)
    {
        using var hash = System.Security.Cryptography.IncrementalHash.CreateHash(System.Security.Cryptography.HashAlgorithmName.SHA256);
        var buffer = new byte[Mib];
        for (var offset = 0L; offset < size;)
        {
            cancellationToken.ThrowIfCancellationRequested();
            var read = RandomAccess.Read(artifact.Handle, buffer, offset);
            hash.AppendData(buffer, 0, read);
            offset += read;
            progress.Show("checksum", offset, size);
        }

        progress.Clear();
        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }
}
