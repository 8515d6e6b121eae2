using System.Globalization;
using System.IO.Compression;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Volant.Fledge.Tar;

namespace Volant.Tests.Fledge;

/// <summary>Makes images for tests: layers of a few entries, as OCI layout or docker archive.</summary>
internal static class OciImage
{
    /// <summary>A layer as a plain archive.</summary>
    public static byte[] Layer(params (TarEntry Entry, byte[]? Content)[] members)
    {
        using var stream = new MemoryStream();
        var writer = new TarWriter(stream);
        foreach (var (entry, content) in members)
        {
            writer.WriteHeader(entry with { SizeBytes = content?.Length ?? 0 });
            stream.Write(content ?? []);
            writer.EndContent(content?.Length ?? 0);
        }

        writer.WriteEnd();
        return stream.ToArray();
    }

    public static (TarEntry Entry, byte[]? Content) Regular(string name, string content, int mode = 0x1A4, uint uid = 0, uint gid = 0, SortedDictionary<string, byte[]>? attributes = null) =>
        (new TarEntry { Kind = TarKind.File, Name = name, Permissions = mode, Uid = uid, Gid = gid, ModifiedAt = 1_700_000_000, Attributes = attributes }, Encoding.UTF8.GetBytes(content));

    public static (TarEntry Entry, byte[]? Content) Folder(string name, int mode = 0x1ED, uint uid = 0) =>
        (new TarEntry { Kind = TarKind.Directory, Name = name, Permissions = mode, Uid = uid, ModifiedAt = 1_700_000_000 }, null);

    public static (TarEntry Entry, byte[]? Content) Link(string name, string target, TarKind kind = TarKind.SymbolicLink) =>
        (new TarEntry { Kind = kind, Name = name, LinkName = target, Permissions = 0x1FF, ModifiedAt = 1_700_000_000 }, null);

    public static (TarEntry Entry, byte[]? Content) Device(string name, TarKind kind, uint major, uint minor) =>
        (new TarEntry { Kind = kind, Name = name, Permissions = 0x1B6, Major = major, Minor = minor }, null);

    public static string Digest(byte[] bytes) => "sha256:" + Convert.ToHexStringLower(SHA256.HashData(bytes));

    public static byte[] Gzip(byte[] bytes) => Gzip(bytes, CompressionLevel.Fastest);

    public static byte[] Gzip(byte[] bytes, CompressionLevel level)
    {
        using var stream = new MemoryStream();
        using (var gzip = new GZipStream(stream, level, leaveOpen: true))
        {
            gzip.Write(bytes);
        }

        return stream.ToArray();
    }

    /// <summary>Writes an OCI layout with one image and returns the digest of its manifest.</summary>
    /// <param name="tree">Where.</param>
    /// <param name="path">Directory of the layout.</param>
    /// <param name="config">The member <c>config</c> of the configuration.</param>
    /// <param name="layers">Plain archives.</param>
    public static string WriteLayout(TempTree tree, string path, string config, params byte[][] layers) =>
        WriteLayout(tree, path, config, layers, Gzip, (bytes, kind) => bytes);

    /// <summary>The same with layers packed otherwise, or any content damaged: <paramref name="change"/> gets it and what it is.</summary>
    public static string WriteLayout(TempTree tree, string path, string config, byte[][] layers, Func<byte[], byte[]> pack, Func<byte[], string, byte[]> change)
    {
        var packed = layers.Select(pack).ToArray();
        var document = Config(config, layers);
        var manifest = Manifest(document, packed);
        var index = Encoding.UTF8.GetBytes(new JsonObject
        {
            ["schemaVersion"] = 2,
            ["manifests"] = new JsonArray(Describe("application/vnd.oci.image.manifest.v1+json", manifest, new JsonObject { ["org.opencontainers.image.ref.name"] = "latest" })),
        }.ToJsonString());
        tree.Write($"{path}/oci-layout", """{"imageLayoutVersion":"1.0.0"}""");
        tree.Write($"{path}/index.json", change(index, "index"));
        Blob(manifest, "manifest");
        Blob(document, "config");
        foreach (var layer in packed)
        {
            Blob(layer, "layer");
        }

        return Digest(manifest);

        void Blob(byte[] bytes, string kind) => tree.Write($"{path}/blobs/sha256/{Digest(bytes)[7..]}", change(bytes, kind));
    }

    public static byte[] Config(string config, byte[][] layers, string architecture = "amd64") => Encoding.UTF8.GetBytes(new JsonObject
    {
        ["architecture"] = architecture,
        ["os"] = "linux",
        ["config"] = JsonNode.Parse(config),
        ["rootfs"] = new JsonObject { ["type"] = "layers", ["diff_ids"] = new JsonArray([.. layers.Select(layer => JsonValue.Create(Digest(layer)))]) },
    }.ToJsonString());

    public static byte[] Manifest(byte[] config, byte[][] packed) => Encoding.UTF8.GetBytes(new JsonObject
    {
        ["schemaVersion"] = 2,
        ["mediaType"] = "application/vnd.oci.image.manifest.v1+json",
        ["config"] = Describe("application/vnd.oci.image.config.v1+json", config),
        ["layers"] = new JsonArray([.. packed.Select(layer => Describe("application/vnd.oci.image.layer.v1.tar+gzip", layer))]),
    }.ToJsonString());

    /// <summary>Writes a docker archive with one image.</summary>
    public static void WriteDockerArchive(TempTree tree, string path, string config, params byte[][] layers)
    {
        var document = Config(config, layers);
        var name = $"{Digest(document)[7..]}.json";
        var list = JsonSerializer.SerializeToUtf8Bytes(new JsonArray(new JsonObject
        {
            ["Config"] = name,
            ["RepoTags"] = new JsonArray("app:1"),
            ["Layers"] = new JsonArray([.. layers.Select((_, i) => JsonValue.Create(string.Create(CultureInfo.InvariantCulture, $"{i}/layer.tar")))]),
        }));
        tree.Write(path, Layer(
        [
            (Regular("manifest.json", string.Empty).Entry, list),
            (Regular(name, string.Empty).Entry, document),
            .. layers.Select((layer, i) => (Regular(string.Create(CultureInfo.InvariantCulture, $"{i}/layer.tar"), string.Empty).Entry, (byte[]?)layer)),
        ]));
    }

    public static JsonObject Describe(string type, byte[] content, JsonObject? annotations = null)
    {
        var described = new JsonObject { ["mediaType"] = type, ["digest"] = Digest(content), ["size"] = content.Length };
        if (annotations is not null)
        {
            described["annotations"] = annotations;
        }

        return described;
    }
}
