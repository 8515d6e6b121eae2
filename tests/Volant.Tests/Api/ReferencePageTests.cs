using System.Text.RegularExpressions;

namespace Volant.Tests.Api;

public sealed partial class ReferencePageTests
{
    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task The_page_and_its_script_come_from_the_daemon_alone()
    {
        await using var api = await ApiFixture.StartAsync();
        using var page = await api.SendAsync(HttpMethod.Get, "/docs/");
        var html = await page.Content.ReadAsStringAsync(Token);

        Assert.Equal((200, "text/html"), ((int)page.StatusCode, page.Content.Headers.ContentType!.MediaType));
        Assert.Contains("<title>Volant API</title>", html, StringComparison.Ordinal);
        Assert.StartsWith("default-src 'none'; script-src 'self'", Assert.Single(page.Headers.GetValues("Content-Security-Policy")), StringComparison.Ordinal);
        var sources = Sources().Matches(html).Select(match => match.Groups["url"].Value).ToList();
        Assert.NotEmpty(sources);
        foreach (var source in sources)
        {
            Assert.DoesNotContain("//", source, StringComparison.Ordinal);
            using var script = await api.SendAsync(HttpMethod.Get, new Uri(new Uri("http://localhost/docs/"), source).PathAndQuery);
            Assert.Equal(200, (int)script.StatusCode);
        }
    }

    [GeneratedRegex("""(?:src|href)="(?<url>[^"#]+)""", RegexOptions.ExplicitCapture, matchTimeoutMilliseconds: 1000)]
    private static partial Regex Sources();
}
