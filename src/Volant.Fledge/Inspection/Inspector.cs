using System.IO.Compression;
using System.Security.Cryptography;
using Volant.Contracts;
using Volant.Contracts.Manifests;
using Volant.Fledge.Configuration;
using Volant.Fledge.Cpio;
using Volant.Fledge.Oci;

namespace Volant.Fledge.Inspection;

/// <summary>Finds out what an artifact is and what it holds.</summary>
internal sealed class Inspector(ImageSources images)
{
    private const int TarMagicOffset = 257;

    /// <summary>Inspects a file, a directory, or an image by its reference.</summary>
    /// <exception cref="FledgeException">There is no such thing, it is damaged, or of an unknown kind.</exception>
    public async Task<InspectedArtifact> InspectAsync(string what, CancellationToken cancellationToken)
    {
        var path = Path.GetFullPath(what);
        if (File.Exists(path))
        {
            return await InspectFileAsync(path, cancellationToken);
        }

        if (Directory.Exists(path))
        {
            return await InspectImageAsync(new ImageReference.LayoutDirectory(path, null), path, cancellationToken);
        }

        try
        {
            return ImageReference.HasPrefix(what) && ImageReference.Parse(what, Directory.GetCurrentDirectory()) is var reference
                ? await InspectImageAsync(reference, reference.Text, cancellationToken)
                : throw new FledgeException($"There is no file '{path}'. For an image of a registry write docker://NAME.");
        }
        catch (FormatException e)
        {
            throw new FledgeException($"The image '{what}' {e.Message}.", e);
        }
    }

    private async Task<InspectedArtifact> InspectFileAsync(string path, CancellationToken cancellationToken)
    {
        await using var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read, 128 * 1024);
        var start = new byte[FilesystemProbe.Bytes];
        var length = await file.ReadAtLeastAsync(start, start.Length, throwOnEndOfStream: false, cancellationToken);
        file.Position = 0;
        var sha256 = Convert.ToHexStringLower(await SHA256.HashDataAsync(file, cancellationToken));
        file.Position = 0;
        var found = new InspectedArtifact { File = path, Kind = string.Empty, Sha256 = sha256, SizeBytes = file.Length };
        if (FilesystemProbe.Find(start.AsSpan(0, length)) is var (kind, filesystem))
        {
            return found with { Kind = kind, Filesystem = filesystem };
        }

        if (start.AsSpan(TarMagicOffset).StartsWith("ustar"u8))
        {
            return await InspectArchiveAsync(path, cancellationToken) with { Sha256 = sha256, SizeBytes = file.Length };
        }

        if (start.AsSpan(0, length).TrimStart(" \t\r\n"u8).StartsWith("{"u8))
        {
            return found with { Kind = "manifest", Manifest = ReadManifest(path) };
        }

        RefuseOthers(path, start);
        var gzip = start[0] == 0x1f && start[1] == 0x8b;
        return found with { Kind = "initramfs", Compression = gzip ? "gzip" : "none", Entries = await ReadEntriesAsync(path, file, gzip, cancellationToken) };
    }

    private async Task<InspectedArtifact> InspectArchiveAsync(string path, CancellationToken cancellationToken)
    {
        using var files = new ArchiveFiles(path);
        await using var layout = files.Open("index.json");
        return await InspectImageAsync(layout is null ? new ImageReference.DockerArchive(path, null) : new ImageReference.LayoutArchive(path, null), path, cancellationToken);
    }

    private async Task<InspectedArtifact> InspectImageAsync(ImageReference reference, string name, CancellationToken cancellationToken)
    {
        using var opened = await images.OpenAsync(new ImageInput.Finished(reference), cancellationToken);
        var image = await ResolvedImage.FindAsync(opened.Source, cancellationToken);
        var run = image.Config.Config ?? new ImageRun();
        return new InspectedArtifact
        {
            File = name,
            Kind = "image",
            Image = new InspectedImage(
                image.Digest,
                image.Config.Architecture,
                run.Entrypoint ?? [],
                run.Cmd ?? [],
                run.Env ?? [],
                run.WorkingDir is { Length: > 0 } ? run.WorkingDir : null,
                run.User is { Length: > 0 } ? run.User : null,
                [.. (run.ExposedPorts ?? []).Keys.Order(StringComparer.Ordinal)],
                [.. image.Layers.Select(layer => new InspectedLayer(layer.Packed.Digest ?? Sha256Text.Prefix + layer.DiffId, layer.Packed.Size))]),
        };
    }

    private static PluginManifest ReadManifest(string path)
    {
        if (new FileInfo(path).Length > ManifestReader.MaxBytes)
        {
            throw new FledgeException($"'{path}' looks like a manifest, but has more than {ManifestReader.MaxBytes} bytes.");
        }

        try
        {
            return ManifestReader.Read(File.ReadAllBytes(path));
        }
        catch (InvalidDocumentException e)
        {
            throw new FledgeException([.. e.Errors.Select(error => $"{path}: '{error.Path}' {error.Message}.")], ExitCodes.Failed, e);
        }
    }

    private static async Task<IReadOnlyList<InspectedEntry>> ReadEntriesAsync(string path, Stream file, bool gzip, CancellationToken cancellationToken)
    {
        var entries = new List<InspectedEntry>();
        try
        {
            await using var unzipped = gzip ? new GZipStream(file, CompressionMode.Decompress, leaveOpen: true) : null;
            await foreach (var member in new CpioReader((Stream?)unzipped ?? file).ReadAsync(cancellationToken))
            {
                entries.Add(new InspectedEntry(member.Path, FileModes.Text(member.Mode), member.Uid, member.Gid, member.SizeBytes, member.Target));
            }
        }
        catch (InvalidDataException e)
        {
            throw new FledgeException($"'{path}' is damaged: {e.Message}", e);
        }

        return entries;
    }

    private static void RefuseOthers(string path, ReadOnlySpan<byte> magic)
    {
        var tool = magic switch
        {
            [0x28, 0xb5, 0x2f, 0xfd, ..] => "zstd",
            [0xfd, 0x37, 0x7a, 0x58, 0x5a, ..] => "xz",
            [0x04, 0x22, 0x4d, 0x18, ..] or [0x02, 0x21, 0x4c, 0x18, ..] => "lz4",
            _ => null,
        };
        if (tool is not null)
        {
            throw new FledgeException($"'{path}' is compressed with {tool}, which fledge does not read; unpack it first: {tool} -dc '{path}' > FILE.");
        }

        if (magic is [0x51, 0x46, 0x49, 0xfb, ..])
        {
            throw new FledgeException($"'{path}' is a qcow2 image; look at it with qemu-img info, or convert it: qemu-img convert -O raw.");
        }
    }
}
