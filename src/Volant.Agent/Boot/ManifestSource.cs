using Volant.Contracts.Boot;
using Volant.Contracts.Manifests;

namespace Volant.Agent.Boot;

/// <summary>Finds the manifest of this guest.</summary>
internal static class ManifestSource
{
    /// <summary>Reads the manifest that the boot names.</summary>
    /// <param name="value">Value of <see cref="BootKeys.Manifest"/>.</param>
    /// <param name="file">File that holds it when the value is <see cref="BootKeys.InInitrd"/>.</param>
    /// <exception cref="FormatException">There is none, or it is not valid; the message says why and what to do.</exception>
    public static PluginManifest Read(string? value, string file = BootKeys.ManifestFile)
    {
        try
        {
            return value switch
            {
                null or "" => throw new FormatException($"The kernel command line has no {BootKeys.Manifest}; start the guest through volantd, or add it."),
                BootKeys.InInitrd => ManifestReader.Read(ReadFile(file)),
                _ => ManifestCodec.Decode(value),
            };
        }
        catch (IOException e)
        {
            throw new FormatException($"The manifest {file} cannot be read: {e.Message}", e);
        }
    }

    private static byte[] ReadFile(string path)
    {
        using var stream = File.OpenRead(path);
        if (stream.Length > ManifestReader.MaxBytes)
        {
            throw new FormatException($"The manifest {path} has {stream.Length} bytes; at most {ManifestReader.MaxBytes} are read.");
        }

        var bytes = new byte[stream.Length];
        stream.ReadExactly(bytes);
        return bytes;
    }
}
