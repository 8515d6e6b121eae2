using System.Net;
using System.Security.Cryptography;
using Volant.Fledge;
using Volant.Fledge.Configuration;
using Volant.Fledge.Sources;

namespace Volant.Tests.Fledge;

public sealed class VerifiedDownloadTests
{
    private static readonly byte[] Body = [1, 2, 3, 4];
    private static readonly ProgramSource.Download Source = new(new Uri("http://example.org/b"), Convert.ToHexStringLower(SHA256.HashData(Body)));

    [Fact]
    public async Task A_verified_file_is_fetched_once()
    {
        using var tree = new TempTree();
        using var server = new FakeServer(() => new HttpResponseMessage { Content = new ByteArrayContent(Body) });

        var first = await FetchAsync(server, tree);
        var second = await FetchAsync(server, tree);

        Assert.Equal((first, 1), (second, server.Requests));
        Assert.Equal(Body, await File.ReadAllBytesAsync(first, TestContext.Current.CancellationToken));
    }

    [Fact]
    public async Task A_damaged_cache_is_fetched_again()
    {
        using var tree = new TempTree();
        using var server = new FakeServer(() => new HttpResponseMessage { Content = new ByteArrayContent(Body) });
        var path = await FetchAsync(server, tree);
        await File.WriteAllTextAsync(path, "damaged", TestContext.Current.CancellationToken);

        Assert.Equal(Body, await File.ReadAllBytesAsync(await FetchAsync(server, tree), TestContext.Current.CancellationToken));
    }

    [Fact]
    public async Task A_wrong_checksum_is_refused_and_nothing_is_kept()
    {
        using var tree = new TempTree();
        using var server = new FakeServer(() => new HttpResponseMessage { Content = new ByteArrayContent([9]) });

        var failure = await Assert.ThrowsAsync<FledgeException>(() => FetchAsync(server, tree));

        Assert.Contains($"but the build file wants {Source.Sha256}", failure.Message, StringComparison.Ordinal);
        Assert.Empty(tree.Names("cache"));
    }

    [Fact]
    public async Task An_error_of_the_server_is_named()
    {
        using var tree = new TempTree();
        using var server = new FakeServer(() => new HttpResponseMessage(HttpStatusCode.NotFound));

        var failure = await Assert.ThrowsAsync<FledgeException>(() => FetchAsync(server, tree));

        Assert.Contains("http://example.org/b: the server answered 404", failure.Message, StringComparison.Ordinal);
        Assert.Empty(tree.Names("cache"));
    }

    private static async Task<string> FetchAsync(FakeServer server, TempTree tree)
    {
        using var client = new HttpClient(server, disposeHandler: false);
        return await new VerifiedDownload(client, tree["cache"]).FetchAsync(Source, TestContext.Current.CancellationToken);
    }

    private sealed class FakeServer(Func<HttpResponseMessage> answer) : HttpMessageHandler
    {
        public int Requests { get; private set; }

        protected override Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
        {
            Requests++;
            return Task.FromResult(answer());
        }
    }
}
