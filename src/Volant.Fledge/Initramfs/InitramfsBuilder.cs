using System.IO.Compression;
using Volant.Fledge.Configuration;
using Volant.Fledge.Cpio;
using Volant.Fledge.Manifests;
using Volant.Fledge.Oci;
using Volant.Fledge.Output;
using Volant.Fledge.Rootfs;
using Volant.Fledge.Sources;

namespace Volant.Fledge.Initramfs;

/// <summary>Builds an initramfs and its manifest. The same inputs give the same bytes.</summary>
internal sealed class InitramfsBuilder(BootPrograms programs, ImageSources images, Progress progress)
{
    /// <summary>Builds; either everything is in place afterwards, or nothing has changed.</summary>
    /// <param name="config">What to build; an image lies below everything else.</param>
    /// <param name="manifest">The checked manifest; null for none, or to make one from what the image says.</param>
    /// <param name="names">Where to.</param>
    /// <param name="cancellationToken">Stops and leaves nothing.</param>
    /// <exception cref="FledgeException">Something is missing, or two things claim one place.</exception>
    public async Task<BuiltArtifact> BuildAsync(BuildConfig config, ManifestToml? manifest, OutputNames names, CancellationToken cancellationToken)
    {
        var mapped = MappingScanner.Scan(config.Mappings, [names.Artifact, names.Manifest]);
        var agent = await programs.FindAgentAsync(config.Agent, cancellationToken);
        var busybox = await programs.FindBusyboxAsync(config.Busybox, cancellationToken);
        var plan = InitramfsPlan.Create(config, mapped, agent, busybox);

        using var artifact = PendingFile.Create(names.Artifact);
        await using var hashed = new HashingStream(artifact.Stream);
        ImageFacts? facts = null;
        CpioWriter writer;
        try
        {
            // The gzip header that .NET writes has neither time nor name, so it is the same every time.
            await using var gzip = names.Compression == Output.Compression.Gzip ? new GZipStream(hashed, CompressionLevel.Optimal, leaveOpen: true) : null;
            writer = new CpioWriter((Stream?)gzip ?? hashed);
            if (config.Image is { } image)
            {
                facts = await WriteWithImageAsync(image, plan, names, writer, manifest is null, cancellationToken);
            }
            else
            {
                await WriteAsync(plan, writer, cancellationToken);
            }

            await writer.FinishAsync(cancellationToken);
        }
        finally
        {
            progress.Clear();
        }

        var sha256 = hashed.Sha256();
        manifest ??= facts is null ? null : ManifestToml.ForImage(facts, BootMedium.Initramfs);
        if (manifest is null)
        {
            artifact.Commit();
        }
        else
        {
            using var pending = PendingFile.Create(names.Manifest);
            await pending.Stream.WriteAsync(manifest.ToJson(names.Artifact, sha256, facts), cancellationToken);
            artifact.CommitWith(pending);
        }

        return new BuiltArtifact(names.Artifact, sha256, hashed.Length, writer.Count, writer.Length, manifest is null ? null : names.Manifest);
    }

    private async Task WriteAsync(GuestTree plan, CpioWriter writer, CancellationToken cancellationToken)
    {
        var total = plan.Entries.Sum(entry => entry.SizeBytes);
        foreach (var entry in plan.Entries)
        {
            progress.Show("packing", writer.Length, total);
            await writer.WriteAsync(entry, cancellationToken);
        }
    }

    private async Task<ImageFacts?> WriteWithImageAsync(ImageInput input, GuestTree plan, OutputNames names, CpioWriter writer, bool needsProgram, CancellationToken cancellationToken)
    {
        using var opened = await images.OpenAsync(input, cancellationToken);
        var image = await ResolvedImage.FindAsync(opened.Source, cancellationToken);
        using var scratch = PendingFile.Create(names.Artifact + ".contents");
        var store = new ContentStore(scratch.Handle, 1);
        var tree = new RootTree();
        await new LayerUnpacker(opened.Source, progress).UnpackAsync(image, new LayerMerger(tree, store), cancellationToken);
        var facts = ImageFacts.Of(opened.Reference, image, tree);
        new RootAdditions(tree, store, cancellationToken).Add(plan);
        var total = ImageArchive.Sum(tree);
        await new ImageArchive(store, writer).WriteAsync(tree, () => progress.Show("packing", writer.Length, total), cancellationToken);

        // An image that names no program is a mere base of files; only with a program can it stand for a manifest.
        return needsProgram && facts.Workload.Entrypoint is null ? null : facts;
    }
}
