using System.IO.Compression;
using Volant.Fledge.Configuration;
using Volant.Fledge.Cpio;
using Volant.Fledge.Manifests;
using Volant.Fledge.Output;
using Volant.Fledge.Sources;

namespace Volant.Fledge.Initramfs;

/// <summary>What to build.</summary>
/// <param name="ConfigFile">Path of the build file.</param>
/// <param name="ManifestFile">Path of the manifest; null when there is none.</param>
/// <param name="Output">What <c>--output</c> says.</param>
/// <param name="Compression">What <c>--compress</c> says.</param>
internal sealed record BuildRequest(string ConfigFile, string? ManifestFile, string? Output, Output.Compression? Compression);

/// <summary>What was built.</summary>
/// <param name="Artifact">Absolute path of the artifact.</param>
/// <param name="Sha256">Its checksum, 64 hex digits.</param>
/// <param name="SizeBytes">Its size.</param>
/// <param name="Entries">Number of entries in the archive.</param>
/// <param name="UnpackedBytes">Size of the archive, uncompressed; the guest needs that much memory for it, and twice while it starts.</param>
/// <param name="Manifest">Absolute path of the manifest; null when there is none.</param>
internal sealed record BuiltArtifact(string Artifact, string Sha256, long SizeBytes, int Entries, long UnpackedBytes, string? Manifest);

/// <summary>Builds an initramfs and its manifest. The same inputs give the same bytes.</summary>
internal sealed class InitramfsBuilder(BootPrograms programs, Progress progress)
{
    /// <summary>Builds; either everything is in place afterwards, or nothing has changed.</summary>
    /// <exception cref="FledgeException">The input is wrong: every fault of build file and manifest at once.</exception>
    public async Task<BuiltArtifact> BuildAsync(BuildRequest request, CancellationToken cancellationToken)
    {
        var (config, manifest) = ReadBoth(request);
        var names = OutputNames.Resolve(request.Output, manifest?.Name ?? Path.GetFileName(config.Directory), request.Compression);
        var mapped = MappingScanner.Scan(config.Mappings, [names.Artifact, names.Manifest]);
        var agent = await programs.FindAgentAsync(config.Agent, cancellationToken);
        var busybox = await programs.FindBusyboxAsync(config.Busybox, cancellationToken);
        var tree = InitramfsPlan.Create(config, mapped, agent, busybox);

        using var artifact = PendingFile.Create(names.Artifact);
        await using var hashed = new HashingStream(artifact.Stream);
        var writer = await WriteAsync(tree, hashed, names.Compression, cancellationToken);
        var sha256 = hashed.Sha256();
        if (manifest is null)
        {
            artifact.Commit();
        }
        else
        {
            using var pending = PendingFile.Create(names.Manifest);
            await pending.Stream.WriteAsync(manifest.ToJson(names.Artifact, sha256), cancellationToken);
            artifact.Commit();
            pending.Commit();
        }

        return new BuiltArtifact(names.Artifact, sha256, hashed.Length, writer.Count, writer.Length, manifest is null ? null : names.Manifest);
    }

    private static (BuildConfig Config, ManifestToml? Manifest) ReadBoth(BuildRequest request)
    {
        var faults = new List<string>();
        var exitCode = ExitCodes.Failed;
        var config = Try(() => BuildConfigReader.Read(request.ConfigFile));
        var manifest = request.ManifestFile is { } file ? Try(() => ManifestToml.Read(file)) : null;
        return faults.Count == 0 ? (config!, manifest) : throw new FledgeException(faults, exitCode);

        T? Try<T>(Func<T> read)
            where T : class
        {
            try
            {
                return read();
            }
            catch (FledgeException e)
            {
                faults.AddRange(e.Faults);
                exitCode = Math.Max(exitCode, e.ExitCode);
                return null;
            }
        }
    }

    private async Task<CpioWriter> WriteAsync(GuestTree tree, Stream output, Output.Compression compression, CancellationToken cancellationToken)
    {
        // The gzip header that .NET writes has neither time nor name, so it is the same every time.
        await using var gzip = compression == Output.Compression.Gzip ? new GZipStream(output, CompressionLevel.Optimal, leaveOpen: true) : null;
        var writer = new CpioWriter(gzip ?? output);
        var total = tree.Entries.Sum(entry => entry.SizeBytes);
        try
        {
            foreach (var entry in tree.Entries)
            {
                progress.Packed(writer.Length, total);
                await writer.WriteAsync(entry, cancellationToken);
            }

            await writer.FinishAsync(cancellationToken);
        }
        finally
        {
            progress.Clear();
        }

        return writer;
    }
}
