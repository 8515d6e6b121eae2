using System.Buffers.Text;
using System.IO.Compression;
using System.Text.Json;
using Volant.Contracts.Manifests;

namespace Volant.Contracts.Boot;

/// <summary>The manifest as a kernel argument: base64url without padding of gzip of JSON (contract §6).</summary>
/// <remarks>The command line is hostile input to the agent: sizes are capped and only <see cref="FormatException"/> is thrown.</remarks>
public static class ManifestCodec
{
    private const int GzipMagic0 = 0x1f;
    private const int GzipMagic1 = 0x8b;

    /// <summary>The manifest as JSON, without what only editors need.</summary>
    public static byte[] ToJson(PluginManifest manifest) =>
        JsonSerializer.SerializeToUtf8Bytes(manifest with { Schema = null }, ContractsJson.Default.PluginManifest);

    /// <summary>Encodes a manifest.</summary>
    public static string Encode(PluginManifest manifest)
    {
        using var buffer = new MemoryStream();
        using (var gzip = new GZipStream(buffer, CompressionLevel.SmallestSize, leaveOpen: true))
        {
            gzip.Write(ToJson(manifest));
        }

        return Base64Url.EncodeToString(buffer.GetBuffer().AsSpan(0, (int)buffer.Length));
    }

    /// <summary>Decodes what <see cref="Encode"/> wrote, or base64url of plain JSON.</summary>
    /// <exception cref="FormatException">The value is not base64url, expands beyond <see cref="ManifestReader.MaxBytes"/>, or is not a valid manifest.</exception>
    public static PluginManifest Decode(string value)
    {
        ArgumentNullException.ThrowIfNull(value);
        byte[] bytes;
        try
        {
            bytes = Base64Url.DecodeFromChars(value.AsSpan().TrimEnd('='));
            bytes = bytes is [GzipMagic0, GzipMagic1, ..] ? Inflate(bytes) : bytes;
        }
        catch (Exception e) when (e is FormatException or InvalidDataException)
        {
            throw new FormatException("The manifest argument is neither base64url of gzip nor of JSON.", e);
        }

        return bytes.Length <= ManifestReader.MaxBytes
            ? ManifestReader.Read(bytes)
            : throw new FormatException($"The manifest expands to more than {ManifestReader.MaxBytes} bytes.");
    }

    /// <summary>Expands a little more at most than a manifest may have.</summary>
    private static byte[] Inflate(byte[] compressed)
    {
        using var gzip = new GZipStream(new MemoryStream(compressed), CompressionMode.Decompress);
        using var expanded = new MemoryStream();
        var buffer = new byte[4096];
        while (expanded.Length <= ManifestReader.MaxBytes && gzip.Read(buffer) is > 0 and var count)
        {
            expanded.Write(buffer, 0, count);
        }

        return expanded.ToArray();
    }
}
