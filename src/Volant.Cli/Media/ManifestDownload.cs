using System.Globalization;
using Volant.Cli.Api;
using Volant.Contracts.Manifests;

namespace Volant.Cli.Media;

/// <summary>Fetches a manifest over HTTP: at most <see cref="ManifestReader.MaxBytes"/>, within <see cref="Limit"/>, never with the API key.</summary>
internal static class ManifestDownload
{
    /// <summary>Limit of the whole download.</summary>
    public static readonly TimeSpan Limit = TimeSpan.FromSeconds(30);

    private const int MaxRedirects = 5;

    /// <summary>Downloads a manifest.</summary>
    /// <returns>The bytes, and the URL that they came from in the end.</returns>
    /// <exception cref="CliException">It cannot be fetched.</exception>
    public static async Task<(byte[] Json, Uri Url)> FetchAsync(Uri url, TimeProvider clock, CancellationToken cancellationToken)
    {
        // Also for http, which may redirect to https.
        OpenSsl.Require("Fetching a manifest");
        using var handler = new SocketsHttpHandler { MaxAutomaticRedirections = MaxRedirects, UseCookies = false, MaxResponseHeadersLength = 64 };
        using var http = new HttpClient(handler, disposeHandler: false) { Timeout = Timeout.InfiniteTimeSpan };
        using var expired = new CancellationTokenSource(Limit, clock);
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(expired.Token, cancellationToken);
        try
        {
            using var response = await http.GetAsync(url, HttpCompletionOption.ResponseHeadersRead, limit.Token);
            if (!response.IsSuccessStatusCode)
            {
                throw Failed(url, string.Create(CultureInfo.InvariantCulture, $"the server answered {(int)response.StatusCode}"), cause: null);
            }

            await using var stream = await response.Content.ReadAsStreamAsync(limit.Token);
            var json = await BoundedBody.TryReadAsync(stream, ManifestReader.MaxBytes, limit.Token) ??
                throw Failed(url, string.Create(CultureInfo.InvariantCulture, $"it has more than {ManifestReader.MaxBytes} bytes"), cause: null);
            return (json, response.RequestMessage?.RequestUri ?? url);
        }
        catch (OperationCanceledException e) when (!cancellationToken.IsCancellationRequested)
        {
            throw CliException.TimedOut(string.Create(CultureInfo.InvariantCulture, $"The manifest {url} did not arrive within {Limit.TotalSeconds:F0} s."), e);
        }
        catch (Exception e) when (e is HttpRequestException or IOException)
        {
            throw Failed(url, e.Message, e);
        }
    }

    private static CliException Failed(Uri url, string why, Exception? cause) =>
        CliException.Failed($"The manifest {url} cannot be fetched: {why}.", cause);
}
