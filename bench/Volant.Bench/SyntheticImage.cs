using System.Formats.Tar;
using System.Globalization;
using System.IO.Compression;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;

namespace Volant.Bench;

/// <summary>A container image of a wanted size, always the same: files of many sizes that compress as programs and texts do.</summary>
/// <param name="PackedBytes">Size of its layers.</param>
/// <param name="UnpackedBytes">Size of its archives.</param>
/// <param name="Files">Number of files.</param>
internal sealed record SyntheticImage(long PackedBytes, long UnpackedBytes, int Files)
{
    private const int FilesPerDirectory = 50;
    private const int LargestFile = 2_000_000;

    /// <summary>Writes it as an OCI layout with the tag <c>latest</c>.</summary>
    public static async Task<SyntheticImage> WriteAsync(string directory, int layers, long packedBytes, CancellationToken cancellationToken)
    {
        var blobs = Directory.CreateDirectory(Path.Combine(directory, "blobs", "sha256")).FullName;
        var random = new Random(20_261_125);
        var (unpacked, packed, files) = (0L, 0L, 0);
        List<JsonNode?> descriptors = [];
        List<JsonNode?> diffIds = [];
        for (var layer = 0; layer < layers; layer++)
        {
            var temporary = Path.Combine(directory, "layer");
            using var plainHash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
            await using (var file = File.Create(temporary))
            {
                await using var gzip = new GZipStream(file, CompressionLevel.Optimal);
                await using var hashed = new CountingStream(gzip, plainHash);
                await using var tar = new TarWriter(hashed, TarEntryFormat.Pax, leaveOpen: true);
                if (layer == 0)
                {
                    await tar.WriteEntryAsync(Entry("bin/app", "#!/bin/sh\n"u8.ToArray(), 0x1ED), cancellationToken);
                }

                for (var inLayer = 0; file.Length < packedBytes / layers; inLayer++, files++)
                {
                    var name = string.Create(CultureInfo.InvariantCulture, $"usr/lib/part{layer}/dir{inLayer / FilesPerDirectory}/file{inLayer}");
                    await tar.WriteEntryAsync(Entry(name, Content(random), 0x1A4), cancellationToken);
                }

                await tar.DisposeAsync();
                unpacked += hashed.Length;
            }

            diffIds.Add(JsonValue.Create("sha256:" + Convert.ToHexStringLower(plainHash.GetHashAndReset())));
            packed += new FileInfo(temporary).Length;
            descriptors.Add(await PutAsync(blobs, temporary, "application/vnd.oci.image.layer.v1.tar+gzip", cancellationToken));
        }

        var config = await PutAsync(blobs, new JsonObject
        {
            ["architecture"] = System.Runtime.InteropServices.RuntimeInformation.OSArchitecture == System.Runtime.InteropServices.Architecture.Arm64 ? "arm64" : "amd64",
            ["os"] = "linux",
            ["config"] = new JsonObject { ["Cmd"] = new JsonArray("/bin/app") },
            ["rootfs"] = new JsonObject { ["type"] = "layers", ["diff_ids"] = new JsonArray([.. diffIds]) },
        }, directory, "application/vnd.oci.image.config.v1+json", cancellationToken);
        var manifest = await PutAsync(blobs, new JsonObject
        {
            ["schemaVersion"] = 2,
            ["mediaType"] = "application/vnd.oci.image.manifest.v1+json",
            ["config"] = config,
            ["layers"] = new JsonArray([.. descriptors]),
        }, directory, "application/vnd.oci.image.manifest.v1+json", cancellationToken);
        manifest["annotations"] = new JsonObject { ["org.opencontainers.image.ref.name"] = "latest" };
        await File.WriteAllTextAsync(Path.Combine(directory, "oci-layout"), """{"imageLayoutVersion": "1.0.0"}""", cancellationToken);
        await File.WriteAllTextAsync(Path.Combine(directory, "index.json"), new JsonObject { ["schemaVersion"] = 2, ["manifests"] = new JsonArray(manifest) }.ToJsonString(), cancellationToken);
        return new SyntheticImage(packed, unpacked, files);
    }

    private static PaxTarEntry Entry(string name, byte[] content, int mode) =>
        new(TarEntryType.RegularFile, name) { DataStream = new MemoryStream(content), Mode = (UnixFileMode)mode, ModificationTime = DateTimeOffset.UnixEpoch };

    /// <summary>Mostly small files; a third of the bytes is noise, the rest repeats itself.</summary>
    private static byte[] Content(Random random)
    {
        var content = new byte[(int)Math.Min(LargestFile, 600 * Math.Exp(random.NextDouble() * 7))];
        for (var at = 0; at < content.Length;)
        {
            var part = content.AsSpan(at, Math.Min(content.Length - at, 96));
            if (at < 96 || random.Next(3) == 0)
            {
                random.NextBytes(part);
            }
            else
            {
                content.AsSpan(random.Next(Math.Max(0, at - 16_384), at - part.Length + 1), part.Length).CopyTo(part);
            }

            at += part.Length;
        }

        return content;
    }

    private static async Task<JsonObject> PutAsync(string blobs, JsonObject document, string directory, string type, CancellationToken cancellationToken)
    {
        var file = Path.Combine(directory, "document");
        await File.WriteAllBytesAsync(file, Encoding.UTF8.GetBytes(document.ToJsonString()), cancellationToken);
        return await PutAsync(blobs, file, type, cancellationToken);
    }

    private static async Task<JsonObject> PutAsync(string blobs, string file, string type, CancellationToken cancellationToken)
    {
        string digest;
        await using (var stream = File.OpenRead(file))
        {
            digest = Convert.ToHexStringLower(await SHA256.HashDataAsync(stream, cancellationToken));
        }

        var size = new FileInfo(file).Length;
        File.Move(file, Path.Combine(blobs, digest), overwrite: true);
        return new JsonObject { ["mediaType"] = type, ["digest"] = $"sha256:{digest}", ["size"] = size };
    }

    /// <summary>Passes on what is written, and knows length and hash of it.</summary>
    private sealed class CountingStream(Stream inner, IncrementalHash hash) : Stream
    {
        private long _length;

        public override bool CanRead => false;

        public override bool CanSeek => false;

        public override bool CanWrite => true;

        public override long Length => _length;

        public override long Position { get => _length; set => throw new NotSupportedException(); }

        public override void Write(byte[] buffer, int offset, int count)
        {
            hash.AppendData(buffer, offset, count);
            _length += count;
            inner.Write(buffer, offset, count);
        }

        public override void Flush() => inner.Flush();

        public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();
    }
}
