using Volant.Fledge.Configuration;
using Volant.Fledge.Initramfs;
using Volant.Fledge.Manifests;
using Volant.Fledge.Output;
using Volant.Fledge.Rootfs;

namespace Volant.Fledge.Commands;

/// <summary>What to build.</summary>
/// <param name="ConfigFile">Path of the build file; null for a direct build.</param>
/// <param name="Direct">What to build directly; null with a build file.</param>
/// <param name="ManifestFile">Path of the manifest; null when there is none.</param>
/// <param name="Output">What <c>--output</c> says.</param>
/// <param name="Compression">What <c>--compress</c> says.</param>
internal sealed record BuildRequest(string? ConfigFile, BuildConfig? Direct, string? ManifestFile, string? Output, Compression? Compression)
{
    /// <summary>Reads build file and manifest and builds.</summary>
    /// <exception cref="FledgeException">The input is wrong: every fault of build file and manifest at once.</exception>
    public async Task<BuiltArtifact> RunAsync(InitramfsBuilder initramfs, RootfsBuilder rootfs, CancellationToken cancellationToken)
    {
        var (config, manifest) = ReadBoth();
        if (config.Filesystem is not null)
        {
            return Compression is null
                ? await rootfs.BuildAsync(config, manifest, Output, Direct is null ? null : DirectName(config), cancellationToken)
                : throw new FledgeException(["--compress belongs to an initramfs; a root disk is compressed with type \"squashfs\"."], ExitCodes.Usage);
        }

        var names = OutputNames.Resolve(Output, manifest?.Name ?? (Direct is null ? Path.GetFileName(config.Directory) : DirectName(config)), Compression);
        return await initramfs.BuildAsync(config, manifest, names, cancellationToken);
    }

    /// <summary>A direct build is named after its image, or the directory that the Dockerfile copies from.</summary>
    private static string DirectName(BuildConfig config) => ImageFacts.PluginName(config.Image is ImageInput.Dockerfile build ? Path.GetFileName(build.Context) : ((ImageInput.Finished)config.Image!).Reference.ShortName);

    private (BuildConfig Config, ManifestToml? Manifest) ReadBoth()
    {
        var faults = new List<string>();
        var config = Direct ?? Try(() => BuildConfigReader.Read(ConfigFile!));
        var medium = config?.Filesystem is null ? BootMedium.Initramfs : BootMedium.Rootfs;
        var manifest = ManifestFile is { } file ? Try(() => ManifestToml.Read(file, medium, config?.Image is not null)) : null;
        return faults.Count == 0 ? (config!, manifest) : throw new FledgeException(faults);

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
                return null;
            }
        }
    }
}
