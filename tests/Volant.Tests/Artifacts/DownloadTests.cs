using System.Globalization;
using System.Net;
using System.Security.Cryptography;
using System.Text.RegularExpressions;
using Microsoft.Extensions.Logging.Abstractions;
using Volant.Contracts.Api;
using Volant.Daemon;
using Volant.Daemon.Artifacts;
using Volant.Linux.Kernel;

namespace Volant.Tests.Artifacts;

/// <summary>Downloads into the cache: whatever a server does, either the right file is there or nothing is.</summary>
public sealed partial class DownloadTests : IDisposable
{
    private const int MaxBytes = 4 << 20;

    private static readonly byte[] File1 = RandomNumberGenerator.GetBytes(1_500_000);
    private static readonly string Sum1 = Convert.ToHexStringLower(SHA256.HashData(File1));

    private readonly string _root = Directory.CreateTempSubdirectory("volant-down-").FullName;
    private readonly ArtifactCache _cache;
    private readonly ArtifactTransfers _transfers = new(TimeProvider.System);
    private readonly ArtifactDownloads _downloads;

    public DownloadTests()
    {
        _cache = new ArtifactCache(_root, MaxBytes, TimeProvider.System);
        _downloads = Open(new DownloadLimits(TimeSpan.FromSeconds(60), TimeSpan.FromSeconds(20)));
    }

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public void Dispose()
    {
        _downloads.Dispose();
        Directory.Delete(_root, recursive: true);
    }

    [Fact]
    public async Task A_file_whose_checksum_is_known_is_downloaded_once()
    {
        await using var server = new FileServer((_, stream) => FileServer.SendFileAsync(stream, File1));

        var media = await _downloads.FetchAsync(server.Url, Sum1, Cancel);
        var again = await _downloads.FetchAsync(server.Url, Sum1, Cancel);

        Assert.Equal(File1, await File.ReadAllBytesAsync(media.Path, Cancel));
        Assert.Equal(ArtifactCache.Published, File.GetUnixFileMode(media.Path));
        Assert.Equal((media, 1), (again, server.Requests.Count));
    }

    [Theory]
    [InlineData("ETag: \"v1\"", "If-None-Match: \"v1\"")]
    [InlineData("ETag: W/\"v1\"", "If-None-Match: W/\"v1\"")]
    [InlineData("Last-Modified: Wed, 21 Oct 2015 07:28:00 GMT", "If-Modified-Since: Wed, 21 Oct 2015 07:28:00 GMT")]
    public async Task Without_a_checksum_the_server_is_asked_and_sends_it_once(string validator, string condition)
    {
        await using var server = new FileServer((head, stream) => head.Contains(condition, StringComparison.Ordinal)
            ? FileServer.SendAsync(stream, "HTTP/1.1 304 Not Modified\nConnection: close")
            : FileServer.SendFileAsync(stream, File1, validator));

        var first = await _downloads.FetchAsync(server.Url, null, Cancel);
        var second = await _downloads.FetchAsync(server.Url, null, Cancel);

        Assert.Equal(first, second);
        Assert.Equal(2, server.Requests.Count);
        Assert.Contains(condition, server.Requests.Last(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_a_server_held_last_is_used_when_it_is_down()
    {
        CachedMedia first;
        string url;
        await using (var server = new FileServer((_, stream) => FileServer.SendFileAsync(stream, File1)))
        {
            url = server.Url;
            first = await _downloads.FetchAsync(url, null, Cancel);
        }

        Assert.Equal(first, await _downloads.FetchAsync(url, null, Cancel));
        _downloads.Collect();
        Assert.Equal(first, await _downloads.FetchAsync(url, null, Cancel));
        File.Delete(first.Path);
        _downloads.Collect();
        Assert.Empty(Directory.GetFiles(Path.Combine(_root, "sources")));
        Assert.Equal(ErrorCodes.DownloadFailed, (await FailAsync(url + "/other", null)).Code);
    }

    [Theory]
    [InlineData("ETag: \"v1\"")]
    [InlineData("Last-Modified: Wed, 21 Oct 2015 07:28:00 GMT")]
    public async Task A_download_that_breaks_off_goes_on_where_it_ended(string validator)
    {
        var sent = 0;
        await using var server = new FileServer(async (head, stream) =>
        {
            var from = RangeStart().Match(head) is { Success: true } match ? int.Parse(match.Groups["from"].ValueSpan, CultureInfo.InvariantCulture) : 0;
            Assert.Equal(from > 0, head.Contains("If-Range: ", StringComparison.Ordinal));
            var status = from == 0 ? $"HTTP/1.1 200 OK\nContent-Length: {File1.Length}" : $"HTTP/1.1 206 Partial Content\nContent-Length: {File1.Length - from}\nContent-Range: bytes {from}-{File1.Length - 1}/{File1.Length}";
            var part = File1.AsMemory(from, Math.Min(400_000, File1.Length - from));
            sent += part.Length;
            await FileServer.SendAsync(stream, $"{status}\nConnection: close\n{validator}", part);
        });

        var media = await _downloads.FetchAsync(server.Url, Sum1, Cancel);

        Assert.Equal(File1, await File.ReadAllBytesAsync(media.Path, Cancel));
        Assert.True(server.Requests.Count >= 4);
        Assert.True(sent < File1.Length + 400_000, $"{sent} bytes were sent");
    }

    [Theory]
    [InlineData("ETag: \"v{0}\"", true)]
    [InlineData("ETag: \"v{0}\"", false)]
    [InlineData("X: {0}", false)]
    public async Task A_file_that_is_another_after_a_break_is_downloaded_from_its_start(string validator, bool lies)
    {
        var other = RandomNumberGenerator.GetBytes(900_000);
        var requests = 0;
        await using var server = new FileServer(async (head, stream) =>
        {
            requests++;
            var validators = string.Format(CultureInfo.InvariantCulture, validator, Math.Min(requests, 2));
            if (requests == 1)
            {
                await FileServer.SendAsync(stream, $"HTTP/1.1 200 OK\nContent-Length: {File1.Length}\nConnection: close\n{validators}", File1.AsMemory(0, 300_000));
            }
            else if (lies && head.Contains("Range: ", StringComparison.Ordinal))
            {
                // It should have sent the whole new file.
                await FileServer.SendAsync(stream, $"HTTP/1.1 206 Partial Content\nContent-Length: 600000\nContent-Range: bytes 300000-899999/900000\nConnection: close\n{validators}", other.AsMemory(300_000));
            }
            else
            {
                await FileServer.SendFileAsync(stream, other, validators);
            }
        });

        var media = await _downloads.FetchAsync(server.Url, null, Cancel);

        Assert.Equal(other, await File.ReadAllBytesAsync(media.Path, Cancel));
    }

    [Fact]
    public async Task A_server_in_trouble_is_asked_again_and_one_that_refuses_is_not()
    {
        var answers = 0;
        await using var server = new FileServer((_, stream) => ++answers < 3 ? FileServer.SendAsync(stream, "HTTP/1.1 503 Busy\nContent-Length: 0\nConnection: close") : FileServer.SendFileAsync(stream, File1));
        await using var strict = new FileServer((_, stream) => FileServer.SendAsync(stream, "HTTP/1.1 404 Not Found\nContent-Length: 0\nConnection: close"));

        Assert.Equal(Sum1, (await _downloads.FetchAsync(server.Url, null, Cancel)).Sha256);
        var failure = await FailAsync(strict.Url, null);

        Assert.Equal((ErrorCodes.DownloadFailed, 1), (failure.Code, strict.Requests.Count));
        Assert.Contains("404 Not Found", failure.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_truncated_file_leaves_nothing()
    {
        await using var server = new FileServer((_, stream) => FileServer.SendAsync(stream, $"HTTP/1.1 200 OK\nContent-Length: {File1.Length}\nConnection: close", File1.AsMemory(0, 1000)));

        Assert.Equal(ErrorCodes.DownloadFailed, (await FailAsync(server.Url, Sum1)).Code);
    }

    [Theory]
    [InlineData("Content-Length: 999999999999")]
    [InlineData("Transfer-Encoding: chunked")]
    [InlineData("X-Length: none")]
    public async Task A_file_that_is_too_large_or_never_ends_is_given_up(string length)
    {
        await using var server = new FileServer(async (_, stream) =>
        {
            await FileServer.SendAsync(stream, $"HTTP/1.1 200 OK\nConnection: close\n{length}");
            var isChunked = length.EndsWith("chunked", StringComparison.Ordinal);
            while (true)
            {
                await stream.WriteAsync(isChunked ? "10000\r\n"u8.ToArray() : []);
                await stream.WriteAsync(new byte[0x10000]);
                await stream.WriteAsync(isChunked ? "\r\n"u8.ToArray() : []);
            }
        });

        var failure = await FailAsync(server.Url, null);

        Assert.Equal(ErrorCodes.TooLarge, failure.Code);
        Assert.Contains("VOLANT_MAX_ARTIFACT_MB", failure.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_silent_server_and_one_that_drips_are_given_up_in_time()
    {
        using var impatient = Open(new DownloadLimits(TimeSpan.FromSeconds(60), TimeSpan.FromMilliseconds(500)));
        using var hurried = Open(new DownloadLimits(TimeSpan.FromSeconds(1), TimeSpan.FromSeconds(60)));
        var ends = new TaskCompletionSource();
        await using var silent = new FileServer(async (_, stream) =>
        {
            await FileServer.SendAsync(stream, "HTTP/1.1 200 OK\nContent-Length: 1000\nConnection: close");
            await ends.Task;
        });
        await using var dripping = new FileServer(async (_, stream) =>
        {
            await FileServer.SendAsync(stream, "HTTP/1.1 200 OK\nContent-Length: 1000000\nConnection: close");
            while (!ends.Task.IsCompleted)
            {
                await stream.WriteAsync(new byte[1]);
                await Task.Delay(TimeSpan.FromMilliseconds(50), TimeProvider.System);
            }
        });

        var quiet = await FailAsync(silent.Url, null, impatient);
        var slow = await FailAsync(dripping.Url, null, hurried);
        ends.SetResult();

        Assert.Equal(ErrorCodes.DownloadFailed, quiet.Code);
        Assert.Contains("silent", quiet.Message, StringComparison.Ordinal);
        Assert.Equal(ErrorCodes.Timeout, slow.Code);
        Assert.Contains("VOLANT_DOWNLOAD_TIMEOUT", slow.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_wrong_checksum_leaves_nothing()
    {
        await using var server = new FileServer((_, stream) => FileServer.SendFileAsync(stream, File1));

        var failure = await FailAsync(server.Url.Replace("://", "://user:geheim@", StringComparison.Ordinal) + "?token=geheim", new string('0', 64));

        Assert.Equal(ErrorCodes.ChecksumMismatch, failure.Code);
        Assert.Contains(Sum1, failure.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("geheim", failure.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_disk_that_is_full_half_way_is_told_and_left_as_it_was()
    {
        Assert.SkipUnless(Volant.Linux.Processes.EffectiveUser.Id == 0, "only root can mount a small file system");
        var small = Directory.CreateDirectory(Path.Combine(_root, "small")).FullName;
        Mounts.Mount("small", small, "tmpfs", MountOptions.None, "size=1m,mode=0700");
        try
        {
            var cache = new ArtifactCache(small, MaxBytes, TimeProvider.System);
            using var downloads = new ArtifactDownloads(
                cache, small, _transfers, Guard(), new DownloadLimits(TimeSpan.FromSeconds(60), TimeSpan.FromSeconds(20)), TimeProvider.System, NullLogger<ArtifactDownloads>.Instance);
            await using var server = new FileServer((_, stream) => FileServer.SendFileAsync(stream, File1));

            var failure = await Assert.ThrowsAsync<VolantException>(() => downloads.FetchAsync(server.Url, null, Cancel));

            Assert.Equal(ErrorCodes.DiskFull, failure.Code);
            Assert.Empty(Directory.GetFiles(small, "*", SearchOption.AllDirectories));
            Assert.Single(server.Requests);
        }
        finally
        {
            Mounts.Unmount(small, UnmountOptions.Detach);
        }
    }

    [Fact]
    public async Task What_is_empty_in_an_image_takes_no_space()
    {
        var image = new byte[3 << 20];
        File1.AsSpan(0, 1000).CopyTo(image.AsSpan(1 << 20));
        await using var server = new FileServer((_, stream) => FileServer.SendFileAsync(stream, image));

        var media = await _downloads.FetchAsync(server.Url, Convert.ToHexStringLower(SHA256.HashData(image)), Cancel);

        Assert.Equal(image, await File.ReadAllBytesAsync(media.Path, Cancel));
    }

    [Theory]
    [InlineData("text/html; charset=utf-8", "anything")]
    [InlineData("application/octet-stream", "\n <!DOCTYPE html><title>Sign in</title>")]
    [InlineData("application/octet-stream", "<HTML>")]
    public async Task A_web_page_is_no_image(string type, string page)
    {
        await using var server = new FileServer((_, stream) => FileServer.SendFileAsync(stream, System.Text.Encoding.ASCII.GetBytes(page), $"Content-Type: {type}"));

        var failure = await FailAsync(server.Url, null);

        Assert.Equal(ErrorCodes.InvalidMedia, failure.Code);
        Assert.Contains("web page", failure.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(ArtifactDownloads.MaxRedirects, true)]
    [InlineData(ArtifactDownloads.MaxRedirects + 1, false)]
    public async Task Redirects_are_bounded(int count, bool isGood)
    {
        await using var server = new FileServer((head, stream) =>
        {
            var left = head.Contains("/image?", StringComparison.Ordinal) ? int.Parse(LeftNumber().Match(head).Groups["left"].ValueSpan, CultureInfo.InvariantCulture) : count;
            return left == 0 ? FileServer.SendFileAsync(stream, File1) : FileServer.SendAsync(stream, $"HTTP/1.1 302 Found\nLocation: /image?left={left - 1}\nContent-Length: 0\nConnection: close");
        });

        if (isGood)
        {
            Assert.Equal(Sum1, (await _downloads.FetchAsync(server.Url, null, Cancel)).Sha256);
        }
        else
        {
            Assert.Equal(ErrorCodes.DownloadFailed, (await FailAsync(server.Url, null)).Code);
        }
    }

    [Theory]
    [InlineData("304 Not Modified")]
    [InlineData("206 Partial Content\nContent-Range: bytes 100-199/200")]
    [InlineData("302 Found")]
    [InlineData("302 Found\nLocation: http://[")]
    public async Task An_answer_to_what_nobody_asked_is_a_failure(string answer)
    {
        await using var server = new FileServer((_, stream) => FileServer.SendAsync(stream, $"HTTP/1.1 {answer}\nContent-Length: 0\nConnection: close"));

        Assert.Equal(ErrorCodes.DownloadFailed, (await FailAsync(server.Url, null)).Code);
        Assert.Equal(ErrorCodes.DownloadFailed, (await FailAsync(server.Url, Sum1)).Code);
    }

    [Theory]
    [InlineData("file:///etc/passwd", ErrorCodes.DownloadFailed)]
    [InlineData("ftp://127.0.0.1/x", ErrorCodes.DownloadFailed)]
    [InlineData("{0}", ErrorCodes.AddressNotAllowed)]
    [InlineData("http://flips.example/x", ErrorCodes.AddressNotAllowed)]
    public async Task A_redirect_leads_nowhere_that_a_URL_could_not_lead(string location, string code)
    {
        await using var forbidden = new FileServer((_, stream) => FileServer.SendFileAsync(stream, File1), "127.0.0.2");
        await using var server = new FileServer((_, stream) => FileServer.SendAsync(
            stream, $"HTTP/1.1 302 Found\nLocation: {string.Format(CultureInfo.InvariantCulture, location, forbidden.Url)}\nContent-Length: 0\nConnection: close"));

        Assert.Equal(code, (await FailAsync(server.Url, null)).Code);
        Assert.Equal(0, forbidden.Connections);
    }

    [Theory]
    [InlineData("http://127.0.0.2:{0}/x")]
    [InlineData("http://127.2:{0}/x")]
    [InlineData("http://2130706434:{0}/x")]
    [InlineData("http://[::ffff:127.0.0.2]:{0}/x")]
    [InlineData("http://localhost:{0}/x")]
    [InlineData("http://flips.example:{0}/x")]
    public async Task What_may_not_be_reached_is_not_connected_to(string form)
    {
        await using var forbidden = new FileServer((_, stream) => FileServer.SendFileAsync(stream, File1), "127.0.0.2");

        var failure = await FailAsync(string.Format(CultureInfo.InvariantCulture, form, new Uri(forbidden.Url).Port), null);

        Assert.Equal(ErrorCodes.AddressNotAllowed, failure.Code);
        Assert.Contains("VOLANT_DOWNLOAD_ALLOW", failure.Message, StringComparison.Ordinal);
        Assert.Equal(0, forbidden.Connections);
    }

    [Fact]
    public async Task A_name_that_leads_elsewhere_the_next_time_is_checked_again()
    {
        await using var server = new FileServer((_, stream) => FileServer.SendFileAsync(stream, File1));
        await using var forbidden = new FileServer((_, stream) => FileServer.SendFileAsync(stream, File1), "127.0.0.2");
        var answers = new Queue<string>(["127.0.0.1", "127.0.0.2"]);
        var guard = new AddressGuard([IPNetwork.Parse("127.0.0.1/32")], (_, _) => Task.FromResult(new[] { IPAddress.Parse(answers.Dequeue()) }));
        using var downloads = new ArtifactDownloads(
            _cache, _root, _transfers, guard, new DownloadLimits(TimeSpan.FromSeconds(60), TimeSpan.FromSeconds(20)), TimeProvider.System, NullLogger<ArtifactDownloads>.Instance);

        await downloads.FetchAsync($"http://flips.example:{new Uri(server.Url).Port}/x", null, Cancel);
        var failure = await FailAsync($"http://flips.example:{new Uri(forbidden.Url).Port}/y", null, downloads);

        Assert.Equal((ErrorCodes.AddressNotAllowed, 0), (failure.Code, forbidden.Connections));
    }

    [Fact]
    public async Task All_who_ask_for_one_file_at_once_share_one_download()
    {
        var go = new TaskCompletionSource();
        await using var server = new FileServer(async (_, stream) =>
        {
            await go.Task;
            await FileServer.SendFileAsync(stream, File1);
        });
        using var impatient = new CancellationTokenSource();

        var gone = _downloads.FetchAsync(server.Url, Sum1, impatient.Token);
        var all = Enumerable.Range(0, 20).Select(_ => _downloads.FetchAsync(server.Url, Sum1, Cancel)).ToArray();
        await impatient.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => gone);
        go.SetResult();

        Assert.All(await Task.WhenAll(all), media => Assert.Equal(Sum1, media.Sha256));
        Assert.Single(server.Requests);
    }

    [Fact]
    public async Task Progress_is_told_to_whoever_follows()
    {
        await using var server = new FileServer((_, stream) => FileServer.SendFileAsync(stream, File1));
        var seen = new List<ArtifactTransfer>();
        await using var follower = _transfers.FollowAsync(Cancel).GetAsyncEnumerator(Cancel);
        var next = follower.MoveNextAsync().AsTask();

        await _downloads.FetchAsync(server.Url + "?token=geheim", Sum1, Cancel);
        while (await next)
        {
            seen.Add(follower.Current);
            if (follower.Current.State != TransferStates.Running)
            {
                break;
            }

            next = follower.MoveNextAsync().AsTask();
        }

        Assert.Equal((TransferStates.Running, 0L), (seen[0].State, seen[0].ReceivedBytes));
        Assert.Equal((TransferStates.Done, (long)File1.Length, Sum1, server.Url), (seen[^1].State, seen[^1].ReceivedBytes, seen[^1].Sha256, seen[^1].Source));
        Assert.Empty(_transfers.List());
    }

    [Theory]
    [InlineData("93.184.215.14", true)]
    [InlineData("2606:4700::1111", true)]
    [InlineData("127.0.0.1", true)]
    [InlineData("127.0.0.2", false)]
    [InlineData("169.254.169.254", false)]
    [InlineData("10.1.2.3", false)]
    [InlineData("100.100.100.200", false)]
    [InlineData("0.0.0.0", false)]
    [InlineData("255.255.255.255", false)]
    [InlineData("::1", false)]
    [InlineData("::", false)]
    [InlineData("::ffff:169.254.169.254", false)]
    [InlineData("::ffff:127.0.0.1", true)]
    [InlineData("64:ff9b::a9fe:a9fe", false)]
    [InlineData("fd00:ec2::254", false)]
    [InlineData("fe80::1", false)]
    [InlineData("2002:a9fe:a9fe::1", false)]
    public void Only_public_addresses_and_what_the_operator_allows_are_reached(string address, bool isAllowed) => Assert.Equal(isAllowed, Guard().IsAllowed(IPAddress.Parse(address)));

    [Fact]
    public void An_address_of_this_host_is_not_reached_even_if_it_is_public()
    {
        var own = System.Net.NetworkInformation.NetworkInterface.GetAllNetworkInterfaces().SelectMany(link => link.GetIPProperties().UnicastAddresses).Select(entry => entry.Address).ToArray();

        Assert.All(own.Where(address => !IPAddress.Loopback.Equals(address)), address => Assert.False(Guard().IsAllowed(address)));
    }

    private ArtifactDownloads Open(DownloadLimits limits) => new(_cache, _root, _transfers, Guard(), limits, TimeProvider.System, NullLogger<ArtifactDownloads>.Instance);

    /// <summary>One loopback address is allowed; every name leads to another.</summary>
    private static AddressGuard Guard() => new([IPNetwork.Parse("127.0.0.1/32")], (_, _) => Task.FromResult(new[] { IPAddress.Parse("127.0.0.2") }));

    /// <summary>The failure; nothing of the download is left.</summary>
    private async Task<VolantException> FailAsync(string url, string? checksum, ArtifactDownloads? downloads = null)
    {
        var before = Directory.GetFiles(Path.Combine(_root, "sha256"));
        var failure = await Assert.ThrowsAsync<VolantException>(() => (downloads ?? _downloads).FetchAsync(url, checksum, Cancel));
        Assert.Equal(before, Directory.GetFiles(Path.Combine(_root, "sha256")));
        return failure;
    }

    [GeneratedRegex(@"\nRange: bytes=(?<from>[0-9]+)-\r", RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex RangeStart();

    [GeneratedRegex(@"\?left=(?<left>[0-9]+)", RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex LeftNumber();
}
