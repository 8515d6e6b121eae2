using System.Net;
using System.Net.Http.Headers;
using System.Text.RegularExpressions;

namespace Volant.Fledge.Oci;

/// <summary>Speaks with one repository of a registry: addresses, tokens, answers.</summary>
/// <remarks>
/// OCI Distribution Specification 1.1; tokens as in "Token Authentication" of the distribution project. A token is sent to its registry alone: a redirected request goes without it.
/// </remarks>
/// <param name="client">Follows redirects, but never from https to http.</param>
/// <param name="address">Where the image is.</param>
/// <param name="credentials">Name and password for this registry, <c>USER:PASSWORD</c>; null for none.</param>
internal sealed partial class RegistryClient(HttpClient client, RegistryAddress address, string? credentials)
{
    /// <summary>Longest silence of a registry.</summary>
    public static readonly TimeSpan SilenceLimit = TimeSpan.FromSeconds(30);

    private AuthenticationHeaderValue? _authorization;

    /// <summary>For messages.</summary>
    public string Name => address.Image.Text;

    private string Base => $"{(address.IsPlain ? "http" : "https")}://{address.Host}/v2/{address.Repository}";

    /// <summary>Whether an address may be spoken to without encryption: loopback only.</summary>
    public static bool IsLoopback(string host)
    {
        var name = host.StartsWith('[') ? host[1..].Split(']')[0] : host.Split(':')[0];
        return name == "localhost" || (IPAddress.TryParse(name, out var address) && IPAddress.IsLoopback(address));
    }

    /// <summary>Sends a request for <c>manifests/…</c> or <c>blobs/…</c> and returns the answer, which is a success.</summary>
    /// <param name="path">Below the repository.</param>
    /// <param name="accept">Wanted media types.</param>
    /// <param name="from">First wanted byte.</param>
    /// <param name="cancellationToken">Ends it; also when the registry is silent.</param>
    /// <exception cref="FledgeException">The registry refuses, in its own words.</exception>
    /// <exception cref="HttpRequestException">The registry cannot be reached, or has trouble of its own.</exception>
    public async Task<HttpResponseMessage> GetAsync(string path, IReadOnlyList<string> accept, long from, CancellationToken cancellationToken)
    {
        var response = await SendAsync(path, accept, from, cancellationToken);
        if (response.StatusCode == HttpStatusCode.Unauthorized && await AuthorizeAsync(response, cancellationToken))
        {
            response.Dispose();
            response = await SendAsync(path, accept, from, cancellationToken);
        }

        if (response.IsSuccessStatusCode)
        {
            return response;
        }

        using (response)
        {
            throw Refused(response.StatusCode, path);
        }
    }

    private async Task<HttpResponseMessage> SendAsync(string path, IReadOnlyList<string> accept, long from, CancellationToken cancellationToken)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, $"{Base}/{path}");
        foreach (var type in accept)
        {
            request.Headers.Accept.Add(new MediaTypeWithQualityHeaderValue(type));
        }

        request.Headers.Authorization = _authorization;
        request.Headers.Range = from > 0 ? new RangeHeaderValue(from, null) : null;
        return await client.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, cancellationToken);
    }

    /// <summary>Gets what the registry asks for; false when there is nothing to offer.</summary>
    private async Task<bool> AuthorizeAsync(HttpResponseMessage response, CancellationToken cancellationToken)
    {
        var challenges = response.Headers.WwwAuthenticate;
        if (challenges.FirstOrDefault(challenge => challenge.Scheme.Equals("Bearer", StringComparison.OrdinalIgnoreCase)) is { Parameter: { } parameters })
        {
            _authorization = new AuthenticationHeaderValue("Bearer", await FetchTokenAsync(parameters, cancellationToken));
            return true;
        }

        if (credentials is not null && _authorization is null && challenges.Any(challenge => challenge.Scheme.Equals("Basic", StringComparison.OrdinalIgnoreCase)))
        {
            _authorization = Basic(credentials);
            return true;
        }

        return false;
    }

    private async Task<string> FetchTokenAsync(string challenge, CancellationToken cancellationToken)
    {
        var values = ChallengeValue().Matches(challenge).ToDictionary(match => match.Groups["name"].Value, match => match.Groups["value"].Value, StringComparer.OrdinalIgnoreCase);
        if (!Uri.TryCreate(values.GetValueOrDefault("realm"), UriKind.Absolute, out var realm) || !(realm.Scheme == Uri.UriSchemeHttps || (realm.Scheme == Uri.UriSchemeHttp && address.IsPlain)))
        {
            throw new FledgeException($"The registry of {Name} names no token service that may be asked: it must be https{(address.IsPlain ? " or http" : string.Empty)}.");
        }

        var query = string.Join('&', new[] { ("service", values.GetValueOrDefault("service")), ("scope", values.GetValueOrDefault("scope") ?? $"repository:{address.Repository}:pull") }
            .Where(pair => pair.Item2 is not null).Select(pair => $"{pair.Item1}={Uri.EscapeDataString(pair.Item2!)}"));
        using var request = new HttpRequestMessage(HttpMethod.Get, $"{realm.AbsoluteUri}{(realm.Query.Length == 0 ? '?' : '&')}{query}");
        request.Headers.Authorization = credentials is null ? null : Basic(credentials);
        using var response = await client.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, cancellationToken);
        if (!response.IsSuccessStatusCode)
        {
            throw new FledgeException($"The token service of {Name} answered {(int)response.StatusCode} {response.ReasonPhrase}.");
        }

        var token = OciParser.Parse(await BoundedAsync(response, OciLimits.MaxDocumentBytes, "The token", cancellationToken), OciJson.Default.RegistryToken, "The answer of the token service");
        return token.Token ?? token.AccessToken ?? throw new FledgeException($"The token service of {Name} gave no token.");
    }

    /// <summary>Reads a small answer whole.</summary>
    /// <exception cref="FledgeException">It is too long.</exception>
    public static async Task<byte[]> BoundedAsync(HttpResponseMessage response, int limit, string what, CancellationToken cancellationToken)
    {
        await using var stream = await response.Content.ReadAsStreamAsync(cancellationToken);
        var buffer = new byte[16 * 1024];
        using var all = new MemoryStream();
        for (int read; (read = await stream.ReadAsync(buffer, cancellationToken)) > 0;)
        {
            await all.WriteAsync(buffer.AsMemory(0, read), cancellationToken);
            if (all.Length > limit)
            {
                throw new FledgeException($"{what} has more than {limit} bytes, which is refused.");
            }
        }

        return all.ToArray();
    }

    private static AuthenticationHeaderValue Basic(string credentials) => new("Basic", Convert.ToBase64String(System.Text.Encoding.UTF8.GetBytes(credentials)));

    private Exception Refused(HttpStatusCode status, string path) => status switch
    {
        HttpStatusCode.NotFound => new FledgeException($"The registry has no {path} of {Name}; check name and tag."),
        HttpStatusCode.Unauthorized or HttpStatusCode.Forbidden => new FledgeException(
            $"The registry refuses {Name} ({(int)status}): it does not exist, or needs a name and password; log in with a tool that writes {RegistryCredentials.FileVariable}, containers/auth.json or ~/.docker/config.json."),
        HttpStatusCode.TooManyRequests or >= HttpStatusCode.InternalServerError => new HttpRequestException($"the registry answered {(int)status}", null, status),
        _ => new FledgeException($"The registry answered {(int)status} for {path} of {Name}."),
    };

    [GeneratedRegex("(?<name>[a-zA-Z_]+)=\"(?<value>[^\"]*)\"", RegexOptions.CultureInvariant | RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex ChallengeValue();
}
