using System.Net;
using System.Security.Cryptography;
using Volant.Contracts;
using Volant.Fledge.Output;

namespace Volant.Fledge.Oci;

/// <summary>Contents of registries by digest: fetched once, resumed after a break, verified before they get their name and again at every use.</summary>
/// <remarks>Files may be deleted at any time. Two programs that want one content wait for each other.</remarks>
/// <param name="directory">Where they are kept.</param>
/// <param name="progress">Told how far a download is.</param>
/// <param name="clock">Clock of waiting.</param>
internal sealed class BlobCache(string directory, Progress progress, TimeProvider clock)
{
    private const int BufferBytes = 256 * 1024;
    private const int Attempts = 5;
    private const int WouldBlock = 11;
    private const int NoSpace = 28;
    private const int QuotaExceeded = 122;

    private static readonly TimeSpan Poll = TimeSpan.FromMilliseconds(50);
    private static readonly TimeSpan FirstPause = TimeSpan.FromMilliseconds(200);

    /// <summary>Path of a file with exactly the wanted content.</summary>
    /// <param name="registry">Where to fetch it.</param>
    /// <param name="digest">Its SHA-256, 64 hex digits.</param>
    /// <param name="size">Its length.</param>
    /// <param name="cancellationToken">Ends it; what was fetched so far stays for the next time.</param>
    /// <exception cref="FledgeException">The registry cannot give it.</exception>
    public async Task<string> FetchAsync(RegistryClient registry, string digest, long size, CancellationToken cancellationToken)
    {
        if (size is < 0 or > OciLimits.MaxUnpackedBytes)
        {
            throw new FledgeException($"{registry.Name} has a content of {size} bytes; at most {OciLimits.MaxUnpackedBytes} are fetched.");
        }

        Directory.CreateDirectory(directory);
        var path = Path.Combine(directory, digest);
        await using var partial = await OpenPartialAsync(path + ".partial", cancellationToken);
        if (File.Exists(path) && await HashAsync(path, cancellationToken) == digest)
        {
            File.Delete(partial.Name);
            return path;
        }

        await DownloadAsync(registry, digest, size, partial, cancellationToken);
        await partial.FlushAsync(cancellationToken);
        RandomAccess.FlushToDisk(partial.SafeFileHandle);
        File.Move(partial.Name, path, overwrite: true);
        return path;
    }

    private async Task<FileStream> OpenPartialAsync(string path, CancellationToken cancellationToken)
    {
        while (true)
        {
            try
            {
                var file = new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None, BufferBytes);

                // The one that had it before may have renamed or removed it while we waited for its lock.
                if (File.Exists(path))
                {
                    return file;
                }

                await file.DisposeAsync();
            }
            catch (IOException e) when ((e.HResult & 0xFFFF) == WouldBlock)
            {
                await Task.Delay(Poll, clock, cancellationToken);
            }
        }
    }

    private async Task DownloadAsync(RegistryClient registry, string digest, long size, FileStream partial, CancellationToken cancellationToken)
    {
        var pause = FirstPause;
        for (var attempt = 1; ; attempt++)
        {
            try
            {
                await ContinueAsync(registry, digest, size, partial, cancellationToken);
                break;
            }
            catch (Exception e) when ((e is HttpRequestException or IOException || (e is OperationCanceledException && !cancellationToken.IsCancellationRequested)) && !IsFull(e))
            {
                if (attempt == Attempts)
                {
                    throw new FledgeException($"Cannot fetch {Sha256Text.Prefix}{digest} of {registry.Name}: {(e is OperationCanceledException ? $"the registry was silent for {RegistryClient.SilenceLimit.TotalSeconds} seconds" : e.Message)} Tried {Attempts} times; what was fetched is kept, so try again.", e);
                }

                await Task.Delay(pause, clock, cancellationToken);
                pause *= 2;
            }
        }

        partial.Position = 0;
        var found = Convert.ToHexStringLower(await SHA256.HashDataAsync(partial, cancellationToken));
        progress.Clear();
        if (found != digest)
        {
            partial.SetLength(0);
            File.Delete(partial.Name);
            throw new FledgeException($"The registry sent {Sha256Text.Prefix}{found} instead of {Sha256Text.Prefix}{digest} for {registry.Name}; nothing of it was kept. Try again.");
        }
    }

    private static bool IsFull(Exception e) => e is IOException && (e.HResult & 0xFFFF) is NoSpace or QuotaExceeded;

    /// <summary>Fetches what is missing.</summary>
    private async Task ContinueAsync(RegistryClient registry, string digest, long size, FileStream partial, CancellationToken cancellationToken)
    {
        if (partial.Length > size)
        {
            partial.SetLength(0);
        }

        if (partial.Length == size && size > 0)
        {
            return;
        }

        using var silence = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        silence.CancelAfter(RegistryClient.SilenceLimit);
        using var response = await registry.GetAsync($"blobs/{Sha256Text.Prefix}{digest}", [], partial.Length, silence.Token);
        if (response.StatusCode != HttpStatusCode.PartialContent || response.Content.Headers.ContentRange?.From != partial.Length)
        {
            partial.SetLength(0);
        }

        partial.Position = partial.Length;
        await using var content = await response.Content.ReadAsStreamAsync(silence.Token);
        var buffer = new byte[BufferBytes];
        while (true)
        {
            silence.CancelAfter(RegistryClient.SilenceLimit);
            var read = await content.ReadAsync(buffer, silence.Token);
            if (read == 0)
            {
                break;
            }

            if (partial.Position + read > size)
            {
                partial.SetLength(0);
                throw new FledgeException($"The registry sends more than the {size} bytes that {Sha256Text.Prefix}{digest} of {registry.Name} has; nothing of it was kept.");
            }

            await partial.WriteAsync(buffer.AsMemory(0, read), silence.Token);
            progress.Show("downloading", partial.Position, size);
        }

        await partial.FlushAsync(cancellationToken);
        if (partial.Length != size)
        {
            throw new IOException($"the connection ended after {partial.Length} of {size} bytes.");
        }
    }

    private static async Task<string> HashAsync(string path, CancellationToken cancellationToken)
    {
        await using var file = File.OpenRead(path);
        return Convert.ToHexStringLower(await SHA256.HashDataAsync(file, cancellationToken));
    }
}
