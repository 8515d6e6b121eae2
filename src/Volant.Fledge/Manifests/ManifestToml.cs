using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Volant.Contracts;
using Volant.Contracts.Manifests;
using Volant.Fledge.Toml;

namespace Volant.Fledge.Manifests;

/// <summary>A checked <c>manifest.toml</c> that waits for its artifact.</summary>
/// <remarks>
/// TOML spelling of a manifest (contract §4) with three differences: <c>workload.entrypoint</c> may be a string, with the arguments in
/// <c>workload.args</c>; a cloud-init document may name a file beside the manifest, whose content is taken; the boot medium is filled in by the build.
/// </remarks>
internal sealed class ManifestToml
{
    private const string Placeholder = "/";

    private readonly PluginManifest _manifest;

    private ManifestToml(PluginManifest manifest) => _manifest = manifest;

    /// <summary>Name of the plugin.</summary>
    public string Name => _manifest.Name!;

    /// <summary>Reads and checks the file.</summary>
    /// <exception cref="FledgeException">It cannot be read or breaks a rule: every fault with its place.</exception>
    public static ManifestToml Read(string file)
    {
        var root = TomlDocument.Read(file);
        var faults = new TomlFaults(file);
        TakeEntrypoint(root, faults);
        RefuseExpose(root, faults);
        TakeCloudInitFiles(root, Path.GetDirectoryName(Path.GetFullPath(file)) ?? "/", faults);
        if (root.TryGet("initramfs", out var medium) && medium.TryGet("checksum", out var checksum))
        {
            faults.Add(checksum, "initramfs.checksum", "is filled in by the build; remove it");
        }

        var json = new ManifestShape(faults).Convert(root);
        if (json["initramfs"] is not JsonObject)
        {
            json["initramfs"] = new JsonObject();
        }

        json["initramfs"]!["url"] ??= Placeholder;
        PluginManifest? manifest = null;
        try
        {
            manifest = ManifestReader.Read(Encoding.UTF8.GetBytes(json.ToJsonString()));
        }
        catch (InvalidDocumentException e)
        {
            // A member of the wrong type has become null above: do not report it as missing as well.
            faults.Add(root, [.. e.Errors.Where(error => !faults.Has(error.Path))]);
        }

        return faults.None ? new ManifestToml(manifest!) : throw new FledgeException([.. faults.All]);
    }

    /// <summary>The manifest's JSON with the artifact filled in. A URL given in the file is kept: the artifact will be served from there.</summary>
    /// <param name="artifact">Absolute path of the artifact.</param>
    /// <param name="sha256">Its checksum.</param>
    public byte[] ToJson(string artifact, string sha256)
    {
        var url = _manifest.Initramfs!.Url == Placeholder ? FileUrl(artifact) : _manifest.Initramfs.Url;
        var manifest = ManifestReader.Check(_manifest with { Initramfs = new BootMedia { Url = url, Checksum = Sha256Text.Prefix + sha256 } });
        manifest = manifest with { Initramfs = manifest.Initramfs! with { Checksum = Sha256Text.Prefix + sha256 } };
        var indented = new ContractsJson(new JsonSerializerOptions(ContractsJson.Default.Options)
        {
            WriteIndented = true,
            Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        });
        return [.. JsonSerializer.SerializeToUtf8Bytes(manifest, indented.PluginManifest), (byte)'\n'];
    }

    /// <summary>The <c>file://</c> URL of an absolute path, with everything escaped that a URL gives a meaning to.</summary>
    internal static string FileUrl(string path) => "file://" + string.Join('/', path.Split('/').Select(Uri.EscapeDataString));

    private static void TakeEntrypoint(TomlNode root, TomlFaults faults)
    {
        if (!root.TryGet("workload", out var workload) || workload.Table is not { } table)
        {
            return;
        }

        if (workload.TryGet("entrypoint", out var entrypoint) && entrypoint.Value is string)
        {
            table["entrypoint"] = entrypoint = new TomlNode(new List<TomlNode> { entrypoint }, entrypoint.Line, entrypoint.Column);
        }

        if (!table.Remove("args", out var arguments))
        {
            return;
        }

        if (arguments.Array is not { } words)
        {
            faults.Add(arguments, "workload.args", $"must be an array of strings, not {arguments.Kind}");
        }
        else if (entrypoint?.Array is not { } program)
        {
            faults.Add(arguments, "workload.args", "needs 'workload.entrypoint'");
        }
        else
        {
            program.AddRange(words);
        }
    }

    private static void RefuseExpose(TomlNode root, TomlFaults faults)
    {
        if (root.TryGet("network", out var network) && network.Table is { } table && table.Remove("expose", out var expose))
        {
            faults.Add(expose, "network.expose", "has no place in a manifest: ports are published per VM, as 'expose' of its configuration; remove it here");
        }
    }

    private static void TakeCloudInitFiles(TomlNode root, string directory, TomlFaults faults)
    {
        if (!root.TryGet("cloud_init", out var section) || section.Table is not { } documents)
        {
            return;
        }

        foreach (var (key, document) in documents)
        {
            if (document.Table is not { } table || !document.TryGet("path", out var path) || path.Value is not string name)
            {
                continue;
            }

            if (table.ContainsKey("content"))
            {
                faults.Add(path, $"cloud_init.{key}.path", $"and 'cloud_init.{key}.content' exclude each other; remove one");
                continue;
            }

            var file = Path.GetFullPath(name, directory);
            try
            {
                if (new FileInfo(file).Length > ManifestReader.MaxBytes)
                {
                    faults.Add(path, $"cloud_init.{key}.path", $"names '{file}', which is larger than {ManifestReader.MaxBytes} bytes");
                    continue;
                }

                table["content"] = new TomlNode(File.ReadAllText(file), path.Line, path.Column);
                table["inline"] = new TomlNode(true, path.Line, path.Column);
                table.Remove("path");
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                faults.Add(path, $"cloud_init.{key}.path", $"names '{file}', which cannot be read: {e.Message.TrimEnd('.')}");
            }
        }
    }
}
