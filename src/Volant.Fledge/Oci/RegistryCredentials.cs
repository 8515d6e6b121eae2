using System.Text;
using System.Text.Json;

namespace Volant.Fledge.Oci;

/// <summary>Names and passwords that other tools stored after a login: the member <c>auths</c> of their common file format.</summary>
/// <remarks>containers-auth.json(5): the most exact key has precedence, from <c>HOST/PATH</c> up to <c>HOST</c>, and the first file that has one.</remarks>
internal static class RegistryCredentials
{
    /// <summary>Variable that names the only file to look into.</summary>
    public const string FileVariable = "REGISTRY_AUTH_FILE";

    private const int MaxBytes = 1024 * 1024;

    /// <summary><c>USER:PASSWORD</c> for a repository; null when none is stored.</summary>
    /// <exception cref="FledgeException">A file is damaged.</exception>
    public static string? Find(string host, string repository) => Files().Where(File.Exists).Select(file => Read(file, host, repository)).FirstOrDefault(found => found is not null);

    private static string[] Files()
    {
        if (Variable(FileVariable) is { } only)
        {
            return [only];
        }

        var home = Variable("HOME") ?? "/";
        var run = Variable("XDG_RUNTIME_DIR");
        return
        [
            .. run is null ? [] : new[] { Path.Combine(run, "containers", "auth.json") },
            Path.Combine(Variable("XDG_CONFIG_HOME") ?? Path.Combine(home, ".config"), "containers", "auth.json"),
            Path.Combine(Variable("DOCKER_CONFIG") ?? Path.Combine(home, ".docker"), "config.json"),
        ];
    }

    private static string? Variable(string name) => Environment.GetEnvironmentVariable(name) is { Length: > 0 } value ? value : null;

    private static string? Read(string file, string host, string repository)
    {
        try
        {
            if (new FileInfo(file).Length > MaxBytes)
            {
                throw new FormatException($"It has more than {MaxBytes} bytes.");
            }

            using var document = JsonDocument.Parse(File.ReadAllBytes(file));
            if (!document.RootElement.TryGetProperty("auths", out var all))
            {
                return null;
            }

            for (var key = $"{host}/{repository}"; key.Length > 0; key = key[..Math.Max(0, key.LastIndexOf('/'))])
            {
                if (all.TryGetProperty(key, out var entry) && entry.TryGetProperty("auth", out var auth) && auth.GetString() is { Length: > 0 } encoded)
                {
                    return Encoding.UTF8.GetString(Convert.FromBase64String(encoded));
                }
            }

            return null;
        }
        catch (Exception e) when (e is JsonException or FormatException or InvalidOperationException)
        {
            throw new FledgeException($"'{file}' with the logins of registries is damaged: {e.Message} Log in again.", e);
        }
    }
}
