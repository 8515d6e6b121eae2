using System.Text;
using System.Text.Json;
using Volant.Cli.Output;
using Volant.Contracts;

namespace Volant.Cli.Media;

/// <summary>A change of a VM's configuration (RFC 7396) as it is sent: local files that it names become uploads and inline documents.</summary>
/// <remarks>Everything else stays as it was written, the nulls that clear a member too.</remarks>
internal static class ConfigPatch
{
    private static readonly string[] WithFiles = ["initramfs", "rootfs", "manifest", "cloud_init"];

    /// <summary>Uploads what a patch names.</summary>
    /// <param name="name">What to call it in messages.</param>
    /// <param name="patch">The patch, a JSON object.</param>
    /// <param name="origin">Where it came from.</param>
    /// <param name="uploads">Uploads files.</param>
    /// <param name="cancellationToken">Cancelled by the user.</param>
    /// <returns>The patch to send.</returns>
    /// <exception cref="CliException">A member that names files is not valid, or a file cannot be read or sent.</exception>
    public static async Task<JsonElement> UploadAsync(string name, JsonElement patch, DocumentOrigin origin, MediaUploads uploads, CancellationToken cancellationToken)
    {
        var named = patch.EnumerateObject().Where(member => WithFiles.Contains(member.Name, StringComparer.Ordinal) && member.Value.ValueKind != JsonValueKind.Null).ToArray();
        if (named.Length == 0)
        {
            return patch;
        }

        // Only these: the rest of a patch may be less than a whole configuration.
        var part = JsonPrinter.Make(json =>
        {
            json.WriteStartObject();
            foreach (var member in named)
            {
                member.WriteTo(json);
            }

            json.WriteEndObject();
        });
        var config = await uploads.UploadAsync(JsonDocuments.ReadConfig(name, Encoding.UTF8.GetBytes(part.GetRawText()), origin), cancellationToken);
        var sent = JsonElement.Parse(JsonSerializer.SerializeToUtf8Bytes(config, ContractsJson.Default.VmConfig));
        return JsonPrinter.Make(json => Write(json, patch, sent, WithFiles));
    }

    /// <summary>Writes an object with the members of <paramref name="sent"/> and what else <paramref name="written"/> has: with <paramref name="replaced"/> any member but these, without it only nulls.</summary>
    private static void Write(Utf8JsonWriter json, JsonElement written, JsonElement sent, string[]? replaced)
    {
        json.WriteStartObject();
        foreach (var member in sent.EnumerateObject())
        {
            if (member.Value.ValueKind == JsonValueKind.Object && written.TryGetProperty(member.Name, out var before) && before.ValueKind == JsonValueKind.Object)
            {
                json.WritePropertyName(member.Name);
                Write(json, before, member.Value, replaced: null);
            }
            else
            {
                member.WriteTo(json);
            }
        }

        foreach (var member in written.EnumerateObject().Where(member => member.Value.ValueKind == JsonValueKind.Null || replaced?.Contains(member.Name, StringComparer.Ordinal) == false))
        {
            if (!sent.TryGetProperty(member.Name, out _))
            {
                member.WriteTo(json);
            }
        }

        json.WriteEndObject();
    }
}
