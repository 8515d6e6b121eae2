using System.Text;
using System.Text.Json;

namespace Volant.Fledge.Oci;

/// <summary>Names and passwords that other tools stored after a login: the member <c>auths</c> of their common file format.</summary>
internal static class RegistryCredentials
{
    /// <summary>Variable that names the file.</summary>
    public const string FileVariable = "REGISTRY_AUTH_FILE";

    private const string HubKey = "https://index.docker.io/v1/";
    private const int MaxBytes = 1024 * 1024;

    /// <summary><c>USER:PASSWORD</c> for a registry; null when none is stored.</summary>
    /// <exception cref="FledgeException">The file is damaged.</exception>
    public static string? Find(string host)
    {
        var home = Environment.GetEnvironmentVariable("HOME") ?? "/";
        var file = Environment.GetEnvironmentVariable(FileVariable) is { Length: > 0 } named ? named : Path.Combine(Environment.GetEnvironmentVariable("DOCKER_CONFIG") is { Length: > 0 } directory ? directory : Path.Combine(home, ".docker"), "config.json");
        if (!File.Exists(file) || new FileInfo(file).Length > MaxBytes)
        {
            return null;
        }

        try
        {
            using var document = JsonDocument.Parse(File.ReadAllBytes(file));
            return document.RootElement.TryGetProperty("auths", out var all) &&
                (all.TryGetProperty(host, out var entry) || (host == "docker.io" && all.TryGetProperty(HubKey, out entry))) &&
                entry.TryGetProperty("auth", out var auth) && auth.GetString() is { Length: > 0 } encoded
                ? Encoding.UTF8.GetString(Convert.FromBase64String(encoded))
                : null;
        }
        catch (Exception e) when (e is JsonException or FormatException or InvalidOperationException)
        {
            throw new FledgeException($"'{file}' with the logins of registries is damaged: {e.Message} Log in again.", e);
        }
    }
}
