using System.Net;
using Microsoft.Extensions.Logging.Abstractions;
using Volant.Contracts.Api;
using Volant.Contracts.Manifests;
using Volant.Daemon;
using Volant.Daemon.Artifacts;

namespace Volant.Tests.Orchestration;

/// <summary>What a manifest or configuration may name as boot medium: files below the image directories, and what was uploaded (T11, S06).</summary>
/// <remarks>Every name is one that resolves to this host or to the metadata service: no test sends anything.</remarks>
public sealed class HostileMediaTests : IDisposable
{
    private const string Secret = "root:x:0:0";

    private static readonly string[] Hosts =
    [
        "127.0.0.1", "127.1", "127.0.1", "0", "0.0.0.0", "2130706433", "0x7f000001", "0x7f.0.0.1", "0177.0.0.1", "017700000001", "127.0.0.1.", "localhost", "LOCALHOST", "localhost.", "ip6-localhost",
        "[::1]", "[::]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[64:ff9b::7f00:1]", "[fe80::1]", "[fe80::1%25lo]", "[fc00::1]", "[ff02::1]",
        "169.254.169.254", "2852039166", "0xa9fea9fe", "169.254.43518", "[fd00:ec2::254]", "metadata.google.internal", "10.0.0.1", "172.16.0.1", "192.168.0.1", "100.64.0.1", "192.0.2.1", "198.18.0.1",
        "224.0.0.1", "240.0.0.1", "255.255.255.255", "①②⑦.⓪.⓪.①", "１２７.０.０.１", "127。0。0。1", "ⓛocalhost", "xn--localhost-", "127.0.0.1%00.example.org", "127.0.0.1.nip.example", "a..b", "-", "_",
    ];

    private static readonly string[] Forms =
        ["http://{0}/x", "https://{0}/x", "HTTP://{0}/x", "http://{0}:80/x", "http://{0}:0/x", "http://{0}:65536/x", "http://{0}#@example.org/x", "http://{0}?@example.org/x", "http://user:pass@{0}/x", "http://example.org@{0}/x", "http:{0}/x", "http:/{0}/x", "http:///{0}/x", "//{0}/x", "http:\\\\{0}\\x"];

    private readonly string _root = Directory.CreateTempSubdirectory("volant-media-").FullName;
    private readonly string _images;
    private readonly ArtifactDownloads _downloads;
    private readonly BootImages _media;

    public HostileMediaTests()
    {
        _images = Directory.CreateDirectory(Path.Combine(_root, "images")).FullName;
        Directory.CreateDirectory(Path.Combine(_images, "sub"));
        Directory.CreateDirectory(Path.Combine(_root, "images-of-others"));
        File.WriteAllText(Path.Combine(_images, "good"), "a medium");
        File.WriteAllText(Path.Combine(_images, "a b%20c"), "odd but good");
        File.WriteAllText(Path.Combine(_root, "secret"), Secret);
        File.WriteAllText(Path.Combine(_root, "images-of-others", "secret"), Secret);
        File.CreateSymbolicLink(Path.Combine(_images, "inside"), "good");
        File.CreateSymbolicLink(Path.Combine(_images, "sub", "up"), "../good");
        File.CreateSymbolicLink(Path.Combine(_images, "outside"), Path.Combine(_root, "secret"));
        File.CreateSymbolicLink(Path.Combine(_images, "relative"), "../secret");
        File.CreateSymbolicLink(Path.Combine(_images, "tree"), _root);
        File.CreateSymbolicLink(Path.Combine(_images, "loop"), "loop");
        File.CreateSymbolicLink(Path.Combine(_images, "self"), "/proc/self/environ");
        File.CreateSymbolicLink(Path.Combine(_images, "device"), "/dev/zero");
        var cache = new ArtifactCache(Path.Combine(_root, "cache"), 1 << 20, TimeProvider.System);
        var transfers = new ArtifactTransfers(TimeProvider.System);
        _downloads = new ArtifactDownloads(
            cache, Path.Combine(_root, "cache"), transfers, new AddressGuard([], (_, _) => Task.FromResult(new[] { IPAddress.Loopback, IPAddress.Parse("169.254.169.254") })),
            new DownloadLimits(TimeSpan.FromSeconds(30), TimeSpan.FromSeconds(5)), TimeProvider.System, NullLogger<ArtifactDownloads>.Instance);
        _media = new BootImages(cache, _downloads, transfers, Path.Combine(_root, "cache"), [_images], TimeProvider.System);
    }

    public static TheoryData<string> Urls => [.. from form in Forms from host in Hosts select string.Format(System.Globalization.CultureInfo.InvariantCulture, form, host)];

    public void Dispose()
    {
        _media.Dispose();
        _downloads.Dispose();
        Directory.Delete(_root, recursive: true);
    }

    [Fact]
    public async Task Whatever_a_URL_says_nothing_is_fetched_and_the_answer_is_no_server_error()
    {
        foreach (var url in Urls.Select(row => row.Data))
        {
            var failure = await RefusalAsync(url);

            Assert.True(
                failure.Code is ErrorCodes.InvalidRequest or ErrorCodes.AddressNotAllowed or ErrorCodes.DownloadFailed or ErrorCodes.PathNotAllowed or ErrorCodes.ArtifactNotFound, $"{url}: {failure.Code} {failure.Message}");
        }
    }

    [Theory]
    [InlineData("good")]
    [InlineData("inside")]
    [InlineData("sub/up")]
    [InlineData("sub/../good")]
    [InlineData("./good")]
    public async Task A_file_below_an_image_directory_is_taken_links_included(string name)
    {
        foreach (var url in new[] { $"{_images}/{name}", $"file://{_images}/{name}" })
        {
            Assert.Equal("a medium", await File.ReadAllTextAsync((await StageAsync(url)).Path, TestContext.Current.CancellationToken));
        }
    }

    [Fact]
    public async Task A_path_is_taken_as_it_is_and_a_URL_decoded_once()
    {
        Assert.Equal("odd but good", await ReadAsync($"{_images}/a b%20c"));
        Assert.Equal("odd but good", await ReadAsync($"file://{_images}/a%20b%2520c"));

        async Task<string> ReadAsync(string url) => await File.ReadAllTextAsync((await StageAsync(url)).Path, TestContext.Current.CancellationToken);
    }

    [Theory]
    [InlineData("{0}/outside")]
    [InlineData("{0}/relative")]
    [InlineData("{0}/tree/secret")]
    [InlineData("{0}/tree/images/../secret")]
    [InlineData("{0}/loop")]
    [InlineData("{0}/self")]
    [InlineData("{0}/device")]
    [InlineData("{0}/sub")]
    [InlineData("{0}/")]
    [InlineData("{0}")]
    [InlineData("{0}/../secret")]
    [InlineData("{0}/sub/../../secret")]
    [InlineData("{0}-of-others/secret")]
    [InlineData("/{0}/../secret")]
    [InlineData("file://{0}/../secret")]
    [InlineData("file://{0}/%2e%2e/secret")]
    [InlineData("file://{0}/..%2fsecret")]
    [InlineData("file://{0}/sub/%2e%2e/%2e%2e/secret")]
    [InlineData("file://localhost{0}/outside")]
    [InlineData("file:{0}/outside")]
    [InlineData("FILE://{0}/outside")]
    [InlineData("file:////{0}/../secret")]
    [InlineData("file://{0}/outside?x=/good")]
    [InlineData("file://{0}/outside#/good")]
    [InlineData("{0}/good\0/../../secret")]
    [InlineData("/etc/passwd")]
    [InlineData("/proc/self/environ")]
    [InlineData("/dev/sda")]
    [InlineData("file:///etc/passwd")]
    [InlineData("../secret")]
    [InlineData("~/secret")]
    [InlineData("volant://sha256/../../secret")]
    [InlineData("volant://sha256/aaaa")]
    [InlineData("volant://md5/d41d8cd98f00b204e9800998ecf8427e")]
    [InlineData("data:,x")]
    [InlineData("gopher://127.0.0.1/x")]
    [InlineData("unix:/run/docker.sock")]
    [InlineData("")]
    public async Task What_lies_elsewhere_is_refused_and_not_read(string form)
    {
        var failure = await RefusalAsync(string.Format(System.Globalization.CultureInfo.InvariantCulture, form, _images));

        Assert.True(failure.Code is ErrorCodes.InvalidRequest or ErrorCodes.PathNotAllowed or ErrorCodes.ArtifactNotFound, $"{failure.Code} {failure.Message}");
        Assert.DoesNotContain(Secret, failure.Message, StringComparison.Ordinal);
        Assert.Empty(Directory.Exists(Path.Combine(_root, "cache")) ? Directory.GetFiles(Path.Combine(_root, "cache"), "*", SearchOption.AllDirectories) : []);
    }

    private Task<CachedMedia> StageAsync(string url) => _media.StageAsync(new BootMedia { Url = url }, TestContext.Current.CancellationToken);

    private async Task<VolantException> RefusalAsync(string url)
    {
        var failure = await Record.ExceptionAsync(() => StageAsync(url));
        return Assert.IsType<VolantException>(failure);
    }
}
