using System.CommandLine;
using System.Globalization;
using System.Text;
using System.Text.Json;
using Volant.Contracts.Manifests;
using Volant.Fledge.Commands;
using Volant.Fledge.Oci;
using Volant.Fledge.Output;
using Volant.Fledge.Sources;

namespace Volant.Fledge.Inspection;

/// <summary><c>fledge inspect WHAT</c>.</summary>
internal static class InspectCommand
{
    private const double Mib = 1024 * 1024;

    /// <summary>Makes the command.</summary>
    public static Command Create(Terminal terminal, ProgramDefaults defaults, TimeProvider clock)
    {
        var what = new Argument<string>("WHAT") { Description = "An initramfs, a root disk, a manifest, an OCI layout, an archive of images, or an image: docker://NAME" };
        FledgeApp.RefuseOptions(what);
        var json = new Option<bool>("--json") { Description = "Print the result as JSON" };
        var command = new Command("inspect", "Tell what an artifact is and what it holds") { what, json };
        command.SetAction((parsed, cancellationToken) => FledgeApp.GuardAsync(terminal, async () =>
        {
            using var client = new HttpClient { Timeout = Timeout.InfiniteTimeSpan };
            var progress = new Progress(terminal.ErrorIsTerminal ? terminal.Error : null, clock);
            var images = new ImageSources(client, new BlobCache(Path.Combine(defaults.CacheDirectory, "oci"), progress, clock), defaults.RegistriesFile);
            var found = await new Inspector(images).InspectAsync(parsed.GetRequiredValue(what), cancellationToken);
            await terminal.Out.WriteAsync(parsed.GetValue(json) ? JsonSerializer.Serialize(found, FledgeJson.Default.InspectedArtifact) + "\n" : Describe(found));
        }));
        return command;
    }

    private static string Describe(InspectedArtifact found)
    {
        var text = new StringBuilder();
        Line("file", found.File);
        Line("kind", found.Kind);
        Line("sha256", found.Sha256);
        if (found.SizeBytes is { } size)
        {
            Line("size", string.Create(CultureInfo.InvariantCulture, $"{size} bytes{(found.Entries is null ? string.Empty : $", compression {found.Compression}, {found.Entries.Count} entries")}"));
        }

        DescribeDisk(found.Filesystem, Line);
        DescribeImage(found.Image, Line);
        DescribeManifest(found.Manifest, Line);
        if (found.Entries is not null)
        {
            text.Append('\n');
            foreach (var entry in found.Entries)
            {
                text.Append(CultureInfo.InvariantCulture, $"{entry.Mode} {entry.Uid,5} {entry.Gid,5} {entry.SizeBytes,10} /{Printable(entry.Path)}{(entry.Target is null ? string.Empty : " -> " + Printable(entry.Target))}\n");
            }
        }

        return text.ToString();

        void Line(string name, string? value)
        {
            if (!string.IsNullOrEmpty(value))
            {
                text.Append(CultureInfo.InvariantCulture, $"{name,-9} {Printable(value)}\n");
            }
        }
    }

    private static void DescribeDisk(InspectedFilesystem? disk, Action<string, string?> line)
    {
        if (disk is null)
        {
            return;
        }

        line("uuid", disk.Uuid);
        line("label", disk.Label);
        line("volume", string.Create(CultureInfo.InvariantCulture, $"{disk.SizeBytes / Mib:0.0} MiB{(disk.FreeBytes is { } free ? $", {free / Mib:0.0} MiB free" : string.Empty)}, blocks of {disk.BlockBytes} bytes{(disk.Inodes is { } inodes ? $", {inodes} inodes" : string.Empty)}"));
    }

    private static void DescribeImage(InspectedImage? image, Action<string, string?> line)
    {
        if (image is null)
        {
            return;
        }

        line("digest", image.Digest);
        line("machine", image.Architecture);
        line("runs", string.Join(' ', image.Entrypoint.Concat(image.Command)));
        line("workdir", image.Workdir);
        line("user", image.User);
        line("ports", string.Join(' ', image.ExposedPorts));
        foreach (var variable in image.Env)
        {
            line("env", variable);
        }

        foreach (var layer in image.Layers)
        {
            line("layer", string.Create(CultureInfo.InvariantCulture, $"{layer.Digest} {layer.SizeBytes} bytes"));
        }
    }

    private static void DescribeManifest(PluginManifest? manifest, Action<string, string?> line)
    {
        if (manifest is null)
        {
            return;
        }

        line("plugin", $"{manifest.Name} {manifest.Version}, runtime {manifest.Runtime}");
        line("needs", string.Create(CultureInfo.InvariantCulture, $"{manifest.Resources?.CpuCores} cores, {manifest.Resources?.MemoryMb} MiB"));
        line("image", manifest.Image);
        line("initramfs", manifest.Initramfs?.Url);
        line("rootfs", manifest.Rootfs is { } rootfs ? $"{rootfs.Url} ({rootfs.Format})" : null);
        line("runs", string.Join(' ', manifest.Workload?.Entrypoint ?? []));
        line("user", manifest.Workload?.User);
    }

    /// <summary>A name from a hostile archive must not command the terminal.</summary>
    private static string Printable(string name) => string.Concat(name.Select(c => char.IsControl(c) ? '?' : c));
}
