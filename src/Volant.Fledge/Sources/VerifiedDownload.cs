using System.Security.Cryptography;
using Volant.Fledge.Configuration;

namespace Volant.Fledge.Sources;

/// <summary>Fetches a program whose checksum is known, once: the cache is addressed by checksum and verified again at every use.</summary>
/// <param name="client">Follows redirects, but never from https to http.</param>
/// <param name="cacheDirectory">Where verified files stay.</param>
internal sealed class VerifiedDownload(HttpClient client, string cacheDirectory)
{
    /// <summary>Largest download in bytes.</summary>
    public const long MaxBytes = 256L * 1024 * 1024;

    private const int BufferBytes = 128 * 1024;

    /// <summary>Longest silence of a server.</summary>
    private static readonly TimeSpan SilenceLimit = TimeSpan.FromSeconds(30);

    /// <summary>Returns the path of a file with exactly the wanted content.</summary>
    /// <exception cref="FledgeException">The server fails, sends too much, or the checksum differs.</exception>
    public async Task<string> FetchAsync(ProgramSource.Download source, CancellationToken cancellationToken)
    {
        var path = Path.Combine(cacheDirectory, source.Sha256);
        if (File.Exists(path))
        {
            await using var cached = File.OpenRead(path);
            if (Convert.ToHexStringLower(await SHA256.HashDataAsync(cached, cancellationToken)) == source.Sha256)
            {
                return path;
            }
        }

        Directory.CreateDirectory(cacheDirectory);
        using var file = Output.PendingFile.Create(path);
        try
        {
            var digest = await CopyAsync(source.Url, file.Stream, cancellationToken);
            if (digest != source.Sha256)
            {
                throw new FledgeException($"{source.Url} has the SHA-256 {digest}, but the build file wants {source.Sha256}; nothing was used. Check the URL, then the checksum.");
            }
        }
        catch (Exception e) when (e is HttpRequestException or IOException)
        {
            throw new FledgeException($"Cannot download {source.Url}: {e.Message}", e);
        }
        catch (OperationCanceledException e) when (!cancellationToken.IsCancellationRequested)
        {
            throw new FledgeException($"Cannot download {source.Url}: the server was silent for {SilenceLimit.TotalSeconds} seconds.", e);
        }

        file.Commit();
        return path;
    }

    private async Task<string> CopyAsync(Uri url, Stream target, CancellationToken cancellationToken)
    {
        using var silence = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        silence.CancelAfter(SilenceLimit);
        using var response = await client.GetAsync(url, HttpCompletionOption.ResponseHeadersRead, silence.Token);
        if (!response.IsSuccessStatusCode)
        {
            throw new FledgeException($"Cannot download {url}: the server answered {(int)response.StatusCode} {response.ReasonPhrase}.");
        }

        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        await using var content = await response.Content.ReadAsStreamAsync(silence.Token);
        var buffer = new byte[BufferBytes];
        var total = 0L;
        while (true)
        {
            silence.CancelAfter(SilenceLimit);
            var read = await content.ReadAsync(buffer, silence.Token);
            if (read == 0)
            {
                return Convert.ToHexStringLower(hash.GetHashAndReset());
            }

            total += read;
            if (total > MaxBytes)
            {
                throw new FledgeException($"Cannot download {url}: it is larger than {MaxBytes} bytes, which no agent or busybox is.");
            }

            hash.AppendData(buffer, 0, read);
            await target.WriteAsync(buffer.AsMemory(0, read), silence.Token);
        }
    }
}
