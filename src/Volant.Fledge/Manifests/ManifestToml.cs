using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Volant.Contracts;
using Volant.Contracts.Manifests;
using Volant.Fledge.Rootfs;
using Volant.Fledge.Toml;

namespace Volant.Fledge.Manifests;

/// <summary>A checked <c>manifest.toml</c> that waits for its artifact; for a root disk, also the manifest that an image gives without such a file.</summary>
/// <remarks>
/// TOML spelling of a manifest (contract §4) with three differences: <c>workload.entrypoint</c> may be a string, with the arguments in
/// <c>workload.args</c>; a cloud-init document may name a file beside the manifest, whose content is taken; the boot medium is filled in by the build,
/// and so is what an image says about its workload, member by member.
/// </remarks>
internal sealed class ManifestToml
{
    private const string Placeholder = "/";
    private const int DefaultMemoryMib = 512;

    private readonly BootMedium _medium;
    private readonly JsonObject _json;
    private readonly TomlNode _root;
    private readonly string _file;

    private ManifestToml(BootMedium medium, JsonObject json, TomlNode root, string file)
    {
        _medium = medium;
        _json = json;
        _root = root;
        _file = file;
    }

    /// <summary>Name of the plugin.</summary>
    public string Name => ((string)_json["name"]!).Trim();

    /// <summary>Reads and checks the file.</summary>
    /// <param name="file">Its path.</param>
    /// <param name="medium">What the build makes.</param>
    /// <param name="hasImage">Whether an image will say what the file leaves out.</param>
    /// <exception cref="FledgeException">It cannot be read or breaks a rule: every fault with its place.</exception>
    public static ManifestToml Read(string file, BootMedium medium = BootMedium.Initramfs, bool hasImage = false)
    {
        var root = TomlDocument.Read(file);
        var faults = new TomlFaults(file);
        TakeEntrypoint(root, faults);
        RefuseExpose(root, faults);
        TakeCloudInitFiles(root, Path.GetDirectoryName(Path.GetFullPath(file)) ?? "/", faults);
        var key = Key(medium);
        if (root.TryGet(key, out var table) && table.TryGet("checksum", out var checksum))
        {
            faults.Add(checksum, $"{key}.checksum", "is filled in by the build; remove it");
        }

        var json = new ManifestShape(faults).Convert(root);
        if (json[key] is not JsonObject)
        {
            json[key] = new JsonObject();
        }

        json[key]!["url"] ??= Placeholder;
        var manifest = new ManifestToml(medium, json, root, file);
        try
        {
            // What the image will say stands for itself here, so that every other fault is found before anything is fetched.
            manifest.Check(hasImage ? ImagePlaceholder : null);
        }
        catch (InvalidDocumentException e)
        {
            // A member of the wrong type has become null above: do not report it as missing as well.
            faults.Add(root, [.. e.Errors.Where(error => !faults.Has(error.Path))]);
        }

        return faults.None ? manifest : throw new FledgeException([.. faults.All]);
    }

    /// <summary>The manifest of an image that has no such file.</summary>
    public static ManifestToml ForImage(ImageFacts facts, BootMedium medium = BootMedium.Rootfs) => new(
        medium,
        new JsonObject
        {
            ["schema_version"] = "1.0",
            ["name"] = facts.Name,
            ["version"] = facts.Version,
            ["resources"] = new JsonObject { ["cpu_cores"] = 1, ["memory_mb"] = DefaultMemoryMib },
            [Key(medium)] = new JsonObject { ["url"] = Placeholder },
        },
        TomlNode.NewTable(1, 1),
        facts.Image);

    /// <summary>The manifest's JSON with the artifact filled in. A URL given in the file is kept: the artifact will be served from there.</summary>
    /// <param name="artifact">Absolute path of the artifact.</param>
    /// <param name="sha256">Its checksum.</param>
    /// <param name="facts">What the image says; null without one.</param>
    /// <param name="label">A label to set.</param>
    /// <exception cref="FledgeException">With what the image says the manifest breaks a rule.</exception>
    public byte[] ToJson(string artifact, string sha256, ImageFacts? facts = null, KeyValuePair<string, string>? label = null)
    {
        PluginManifest manifest;
        try
        {
            manifest = Check(facts);
        }
        catch (InvalidDocumentException e)
        {
            var faults = new TomlFaults(_file);
            faults.Add(_root, e.Errors);
            throw new FledgeException([.. faults.All], ExitCodes.Failed, e);
        }

        manifest = WithArtifact(manifest, artifact, Sha256Text.Prefix + sha256);
        if (label is { } one)
        {
            manifest = manifest with { Labels = new SortedDictionary<string, string>(new Dictionary<string, string>(manifest.Labels!, StringComparer.Ordinal) { [one.Key] = one.Value }, StringComparer.Ordinal) };
        }

        var indented = new ContractsJson(new JsonSerializerOptions(ContractsJson.Default.Options)
        {
            WriteIndented = true,
            Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        });
        byte[] json = [.. JsonSerializer.SerializeToUtf8Bytes(manifest, indented.PluginManifest), (byte)'\n'];
        return json.Length <= ManifestReader.MaxBytes
            ? json
            : throw new FledgeException($"The manifest has {json.Length} bytes; at most {ManifestReader.MaxBytes} are possible. Shorten environment or cloud-init documents.");
    }

    private static ImageFacts ImagePlaceholder { get; } =
        new("image", Sha256Text.Prefix + new string('0', 64), "image", "1", new Workload { Type = WorkloadTypes.Process, Entrypoint = ["/image"] });

    private static string Key(BootMedium medium) => medium == BootMedium.Rootfs ? "rootfs" : "initramfs";

    private PluginManifest Check(ImageFacts? facts)
    {
        var json = _json;
        if (facts is not null)
        {
            json = (JsonObject)_json.DeepClone();
            json["image"] ??= facts.Image;
            json["image_digest"] ??= facts.Digest;
            if (json["workload"] is null or JsonObject)
            {
                json["workload"] = Merge(json["workload"] as JsonObject ?? [], facts);
            }
        }

        return ManifestReader.Read(Encoding.UTF8.GetBytes(json.ToJsonString()));
    }

    /// <summary>The workload of the file, with the image's own in place of what it leaves out; environments are merged.</summary>
    private static JsonObject Merge(JsonObject own, ImageFacts facts)
    {
        var image = facts.Workload;
        var merged = (JsonObject)own.DeepClone();
        merged["type"] ??= merged["base_url"] is null ? WorkloadTypes.Process : WorkloadTypes.Http;
        merged["entrypoint"] ??= image.Entrypoint is { } words
            ? new JsonArray([.. words.Select(word => (JsonNode?)JsonValue.Create(word))])
            : throw new FledgeException(facts.ProgramFault!);
        merged["workdir"] ??= image.Workdir;
        merged["user"] ??= facts.UserFault is null ? image.User : throw new FledgeException(facts.UserFault);
        if (image.Env is { } variables && merged["env"] is null or JsonObject)
        {
            var env = merged["env"] as JsonObject ?? [];
            foreach (var (name, value) in variables)
            {
                env[name] ??= value;
            }

            merged["env"] = env.Parent is null ? env : env.DeepClone();
        }

        return merged;
    }

    private PluginManifest WithArtifact(PluginManifest manifest, string artifact, string checksum)
    {
        // The checksum is written with its prefix; normalising takes that away.
        if (_medium == BootMedium.Rootfs)
        {
            var rootfs = manifest.Rootfs!;
            return manifest with { Rootfs = rootfs with { Url = rootfs.Url == Placeholder ? FileUrl(artifact) : rootfs.Url, Checksum = checksum, Format = "raw" } };
        }

        var url = manifest.Initramfs!.Url;
        return manifest with { Initramfs = new BootMedia { Url = url == Placeholder ? FileUrl(artifact) : url, Checksum = checksum } };
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
            // With a content as well, the rules of manifests refuse it.
            if (document.Table is not { } table || !document.TryGet("path", out var path) || path.Value is not string name || table.ContainsKey("content"))
            {
                continue;
            }

            var file = Path.GetFullPath(name, directory);
            try
            {
                if (new FileInfo(file).Length > CloudInitRules.MaxBytes)
                {
                    faults.Add(path, $"cloud_init.{key}.path", $"names '{file}', which is larger than {CloudInitRules.MaxBytes} bytes");
                    continue;
                }

                var inline = CloudInitRules.Inline(File.ReadAllBytes(file));
                table["content"] = new TomlNode(inline.Content!, path.Line, path.Column);
                table["inline"] = new TomlNode(true, path.Line, path.Column);
                if (inline.Encoding is { } encoding)
                {
                    table["encoding"] = new TomlNode(encoding, path.Line, path.Column);
                }

                table.Remove("path");
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                faults.Add(path, $"cloud_init.{key}.path", $"names '{file}', which cannot be read: {e.Message.TrimEnd('.')}");
            }
        }
    }
}
