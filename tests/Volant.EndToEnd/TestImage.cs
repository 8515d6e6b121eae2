using System.Formats.Tar;
using System.IO.Compression;
using System.Net.Http.Headers;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;

namespace Volant.EndToEnd;

/// <summary>A container image that runs the test workload, as OCI layout or in a registry.</summary>
internal sealed class TestImage
{
    private const string ManifestType = "application/vnd.oci.image.manifest.v1+json";

    private readonly List<byte[]> _blobs = [];

    private TestImage(byte[] manifest) => Manifest = manifest;

    public byte[] Manifest { get; }

    public string Digest => DigestOf(Manifest);

    /// <summary>An image with two layers: <c>/usr/bin/app</c>, and on top of it files that the tests look at.</summary>
    /// <param name="more">Writes a third one; null for none.</param>
    public static async Task<TestImage> CreateAsync(Func<TarWriter, Task>? more = null)
    {
        var layers = new List<byte[]>
        {
            await LayerAsync(async tar =>
            {
                await tar.WriteEntryAsync(new PaxTarEntry(TarEntryType.Directory, "usr/bin") { Mode = (UnixFileMode)0x1ED });
                await using var program = File.OpenRead(Workspace.TestWorkload);
                await tar.WriteEntryAsync(new PaxTarEntry(TarEntryType.RegularFile, "usr/bin/app") { Mode = (UnixFileMode)0x1ED, DataStream = program });
                await tar.WriteEntryAsync(new PaxTarEntry(TarEntryType.SymbolicLink, "bin") { LinkName = "usr/bin" });
                await tar.WriteEntryAsync(new PaxTarEntry(TarEntryType.RegularFile, "etc/hidden") { DataStream = new MemoryStream("hidden"u8.ToArray()) });
                await tar.WriteEntryAsync(new PaxTarEntry(TarEntryType.RegularFile, "etc/kept") { DataStream = new MemoryStream("old"u8.ToArray()), Uid = 1000 });
            }),
            await LayerAsync(async tar =>
            {
                await tar.WriteEntryAsync(new PaxTarEntry(TarEntryType.RegularFile, "etc/.wh.hidden"));
                await tar.WriteEntryAsync(new PaxTarEntry(TarEntryType.RegularFile, "etc/kept") { DataStream = new MemoryStream("from the image\n"u8.ToArray()), Uid = 1000 });
                await tar.WriteEntryAsync(new PaxTarEntry(TarEntryType.HardLink, "etc/again") { LinkName = "etc/kept" });
            }),
        };
        if (more is not null)
        {
            layers.Add(await LayerAsync(more));
        }

        var packed = layers.ConvertAll(Gzip);
        var config = Encoding.UTF8.GetBytes(new JsonObject
        {
            ["architecture"] = "amd64",
            ["os"] = "linux",
            ["config"] = JsonNode.Parse("""{"Entrypoint": ["app"], "Cmd": ["8080"], "Env": ["PATH=/usr/bin", "GREETING=from the image"], "WorkingDir": "/etc", "ExposedPorts": {"8080/tcp": {}}}"""),
            ["rootfs"] = new JsonObject { ["type"] = "layers", ["diff_ids"] = new JsonArray([.. layers.Select(layer => JsonValue.Create(DigestOf(layer)))]) },
        }.ToJsonString());
        var image = new TestImage(Encoding.UTF8.GetBytes(new JsonObject
        {
            ["schemaVersion"] = 2,
            ["mediaType"] = ManifestType,
            ["config"] = Describe("application/vnd.oci.image.config.v1+json", config),
            ["layers"] = new JsonArray([.. packed.Select(layer => Describe("application/vnd.oci.image.layer.v1.tar+gzip", layer))]),
        }.ToJsonString()));
        image._blobs.AddRange([config, .. packed]);
        return image;
    }

    /// <summary>Writes the image as a layout.</summary>
    public async Task WriteLayoutAsync(string directory)
    {
        var blobs = Directory.CreateDirectory(Path.Combine(directory, "blobs", "sha256")).FullName;
        foreach (var blob in _blobs.Append(Manifest))
        {
            await File.WriteAllBytesAsync(Path.Combine(blobs, DigestOf(blob)["sha256:".Length..]), blob);
        }

        await File.WriteAllTextAsync(Path.Combine(directory, "oci-layout"), """{"imageLayoutVersion": "1.0.0"}""");
        await File.WriteAllTextAsync(Path.Combine(directory, "index.json"), new JsonObject { ["schemaVersion"] = 2, ["manifests"] = new JsonArray(Describe(ManifestType, Manifest)) }.ToJsonString());
    }

    /// <summary>Pushes the image to a registry on this host (OCI Distribution Specification 1.1, "Pushing").</summary>
    public async Task PushAsync(Uri registry, string repository, string tag, string? credentials = null)
    {
        using var client = new HttpClient { BaseAddress = registry };
        client.DefaultRequestHeaders.Authorization = credentials is null ? null : new AuthenticationHeaderValue("Basic", Convert.ToBase64String(Encoding.UTF8.GetBytes(credentials)));
        foreach (var blob in _blobs)
        {
            using var begun = await client.PostAsync(new Uri($"/v2/{repository}/blobs/uploads/", UriKind.Relative), null);
            var place = new Uri(registry, begun.EnsureSuccessStatusCode().Headers.Location!);
            using var put = await client.PutAsync(new Uri($"{place}{(place.Query.Length == 0 ? '?' : '&')}digest={Uri.EscapeDataString(DigestOf(blob))}"), new ByteArrayContent(blob));
            put.EnsureSuccessStatusCode();
        }

        using var content = new ByteArrayContent(Manifest) { Headers = { ContentType = new MediaTypeHeaderValue(ManifestType) } };
        using var done = await client.PutAsync(new Uri($"/v2/{repository}/manifests/{tag}", UriKind.Relative), content);
        done.EnsureSuccessStatusCode();
    }

    private static async Task<byte[]> LayerAsync(Func<TarWriter, Task> write)
    {
        using var stream = new MemoryStream();
        await using (var tar = new TarWriter(stream, TarEntryFormat.Pax, leaveOpen: true))
        {
            await write(tar);
        }

        return stream.ToArray();
    }

    private static byte[] Gzip(byte[] bytes)
    {
        using var stream = new MemoryStream();
        using (var gzip = new GZipStream(stream, CompressionLevel.Fastest, leaveOpen: true))
        {
            gzip.Write(bytes);
        }

        return stream.ToArray();
    }

    private static JsonObject Describe(string type, byte[] content) => new() { ["mediaType"] = type, ["digest"] = DigestOf(content), ["size"] = content.Length };

    private static string DigestOf(byte[] bytes) => "sha256:" + Convert.ToHexStringLower(SHA256.HashData(bytes));
}
