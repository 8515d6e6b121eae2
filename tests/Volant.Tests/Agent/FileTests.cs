using System.Formats.Tar;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text;
using Volant.Contracts;
using Volant.Contracts.Api;

namespace Volant.Tests.Agent;

/// <summary>The agent's file routes, with a temporary directory as the guest's root.</summary>
public sealed class FileTests : IAsyncLifetime
{
    private AgentHarness _agent = null!;
    private HttpClient _client = null!;
    private SocketsHttpHandler _handler = null!;

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    private string Root => _agent.Root;

    public async ValueTask InitializeAsync()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "only root may set owners, as an agent does");
        _agent = await AgentHarness.StartAsync(_ => { }, Token);
        (_client, _handler) = _agent.Connect();
    }

    public async ValueTask DisposeAsync()
    {
        if (_agent is not null)
        {
            _client.Dispose();
            _handler.Dispose();
            await _agent.DisposeAsync();
        }
    }

    [Fact]
    public async Task A_file_is_written_whole_read_described_and_deleted()
    {
        var content = new byte[3 << 20];
        new Random(1).NextBytes(content);
        Assert.Equal((201, null), await PutAsync("/a.bin", content, "&mode=4750&uid=5&gid=6"));
        Assert.Equal(content, await File.ReadAllBytesAsync(Path.Combine(Root, "a.bin"), Token));
        var stat = await StatAsync("/a.bin");
        Assert.Equal(("a.bin", FileTypes.File, 3L << 20, "4750", 5L, 6L), (stat.Name, stat.Type, stat.Size, stat.Mode, stat.Uid, stat.Gid));
        Assert.Equal(content, await _client.GetByteArrayAsync("/v1/agent/files?path=/a.bin", Token));

        // A replaced file keeps what it is not told.
        Assert.Equal((204, null), await PutAsync("/a.bin", "new"u8.ToArray()));
        stat = await StatAsync("/a.bin");
        Assert.Equal(("4750", 5L, 6L, 3L), (stat.Mode, stat.Uid, stat.Gid, stat.Size));
        Assert.Equal((204, null), await DeleteAsync("/a.bin"));
        Assert.Equal((404, ErrorCodes.FileNotFound), await DeleteAsync("/a.bin"));
        Assert.Empty(Directory.GetFileSystemEntries(Root));
    }

    [Fact]
    public async Task Links_are_followed_and_end_at_the_root()
    {
        Directory.CreateDirectory(Path.Combine(Root, "real/deep"));
        File.CreateSymbolicLink(Path.Combine(Root, "abs"), "/real");
        File.CreateSymbolicLink(Path.Combine(Root, "out"), "../../../../etc");
        File.CreateSymbolicLink(Path.Combine(Root, "real/file"), "deep/target");
        File.CreateSymbolicLink(Path.Combine(Root, "loop"), "loop");

        Assert.Equal((201, null), await PutAsync("/abs/file", "x"u8.ToArray()));
        Assert.Equal("x", await File.ReadAllTextAsync(Path.Combine(Root, "real/deep/target"), Token));
        Assert.Equal((404, ErrorCodes.FileNotFound), await GetAsync("/out/passwd"));
        Assert.Equal((404, ErrorCodes.FileNotFound), await PutAsync("/out/x", []));
        Assert.Equal((201, null), await PutAsync("/../../x", []));
        Assert.Equal(409, (await PutAsync("/loop", [])).Status);
        Assert.Equal(409, (await GetAsync("/loop")).Status);
        var entries = (await StatAsync("/real")).Entries!;
        Assert.Equal(["deep", "file"], entries.Select(entry => entry.Name));
        Assert.Equal((FileTypes.Symlink, "deep/target"), (entries[1].Type, entries[1].Target));
        Assert.Equal((204, null), await DeleteAsync("/abs"));
        Assert.True(Directory.Exists(Path.Combine(Root, "real")));
    }

    [Theory]
    [InlineData("GET", "", 400)]
    [InlineData("GET", "relative", 400)]
    [InlineData("GET", "/%00", 400)]
    [InlineData("PUT", "/", 409)]
    [InlineData("PUT", "/x/..", 409)]
    [InlineData("PUT", "/dir", 409)]
    [InlineData("PUT", "/missing/x", 404)]
    [InlineData("PUT", "/y&mode=9", 400)]
    [InlineData("PUT", "/y&uid=-1", 400)]
    [InlineData("GET", "/fifo", 409)]
    [InlineData("DELETE", "/", 409)]
    [InlineData("DELETE", "/dir", 409)]
    [InlineData("DELETE", "/dir&recursive=maybe", 400)]
    public async Task What_cannot_be_done_is_refused(string method, string path, int status)
    {
        Directory.CreateDirectory(Path.Combine(Root, "dir/full"));
        using var made = await _client.PostAsJsonAsync("/v1/agent/exec", new ExecRequest { Command = ["mkfifo", Path.Combine(Root, "fifo")] }, ContractsJson.Default.ExecRequest, Token);
        Assert.Contains("\"exit_code\":0", await made.Content.ReadAsStringAsync(Token), StringComparison.Ordinal);
        using var request = new HttpRequestMessage(HttpMethod.Parse(method), $"/v1/agent/files?path={path}") { Content = method == "PUT" ? new ByteArrayContent([1]) : null, Version = HttpVersion.Version20, VersionPolicy = HttpVersionPolicy.RequestVersionExact };
        using var response = await _client.SendAsync(request, Token);
        Assert.Equal(status, (int)response.StatusCode);
        Assert.Equal(["dir", "fifo"], Directory.GetFileSystemEntries(Root).Select(Path.GetFileName).Order(StringComparer.Ordinal));
    }

    [Fact]
    public async Task An_upload_that_breaks_off_changes_nothing()
    {
        await File.WriteAllTextAsync(Path.Combine(Root, "f"), "old", Token);
        using var leaving = new CancellationTokenSource();
        var started = new TaskCompletionSource();
        var sending = _client.PutAsync("/v1/agent/files?path=/f", new EndlessContent(started), leaving.Token);
        await started.Task;
        while (Directory.GetFiles(Root).Length < 2)
        {
            await Task.Delay(TimeSpan.FromMilliseconds(5), TimeProvider.System, Token);
        }

        await leaving.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => sending);
        while (Directory.GetFiles(Root).Length > 1)
        {
            await Task.Delay(TimeSpan.FromMilliseconds(5), TimeProvider.System, Token);
        }

        Assert.Equal("old", await File.ReadAllTextAsync(Path.Combine(Root, "f"), Token));
    }

    [Fact]
    public async Task A_directory_goes_out_and_in_as_a_tar()
    {
        var source = Directory.CreateDirectory(Path.Combine(Root, "src/sub/empty")).Parent!.Parent!.FullName;
        await File.WriteAllTextAsync(Path.Combine(source, "sub/run.sh"), "#!/bin/sh\n", Token);
        File.SetUnixFileMode(Path.Combine(source, "sub/run.sh"), (UnixFileMode)0b111_101_000);
        File.CreateSymbolicLink(Path.Combine(source, "link"), "sub/run.sh");
        var archive = await _client.GetByteArrayAsync("/v1/agent/files?path=/src", Token);

        Assert.Equal((201, null), await PutAsync("/copy/of/it", archive, "&parents=1", FileTypes.Tar));
        Assert.Equal("#!/bin/sh\n", await File.ReadAllTextAsync(Path.Combine(Root, "copy/of/it/sub/run.sh"), Token));
        Assert.Equal((UnixFileMode)0b111_101_000, File.GetUnixFileMode(Path.Combine(Root, "copy/of/it/sub/run.sh")));
        Assert.Equal("sub/run.sh", new FileInfo(Path.Combine(Root, "copy/of/it/link")).LinkTarget);
        Assert.True(Directory.Exists(Path.Combine(Root, "copy/of/it/sub/empty")));
        Assert.Equal((204, null), await PutAsync("/copy/of/it", archive, "&uid=9&gid=9", FileTypes.Tar));
        Assert.Equal(9, (await StatAsync("/copy/of/it/sub/run.sh")).Uid);
    }

    [Fact]
    public async Task Names_with_line_breaks_go_out_and_in()
    {
        const string Name = "two\nlines 11 path=x\n";
        var source = Directory.CreateDirectory(Path.Combine(Root, "src", Name)).Parent!.FullName;
        await File.WriteAllTextAsync(Path.Combine(source, Name, Name), "content", Token);
        File.CreateSymbolicLink(Path.Combine(source, "link"), Name);
        var archive = await _client.GetByteArrayAsync("/v1/agent/files?path=/src", Token);

        Assert.Equal((201, null), await PutAsync("/copy", archive, "", FileTypes.Tar));
        Assert.Equal("content", await File.ReadAllTextAsync(Path.Combine(Root, "copy", Name, Name), Token));
        Assert.Equal(Name, new FileInfo(Path.Combine(Root, "copy/link")).LinkTarget);
    }

    [Fact]
    public async Task An_archive_cannot_leave_its_directory()
    {
        var outside = Directory.CreateTempSubdirectory("vt-out-");
        try
        {
            await File.WriteAllTextAsync(Path.Combine(outside.FullName, "victim"), "safe", Token);
            (string Why, TarEntry[] Entries)[] attacks =
            [
                ("dots", [Text("../evil")]),
                ("dots inside", [Text("a/../../evil")]),
                ("absolute", [Text($"{outside.FullName}/evil")]),
                ("link then write", [Link("l", outside.FullName), Text("l/evil")]),
                ("relative link then write", [Link("l", "../.."), Text("l/evil")]),
                ("hard link out", [Hard("h", $"{outside.FullName}/victim"), Text("h")]),
                ("hard link by dots", [Hard("h", "../../victim")]),
                ("device", [new PaxTarEntry(TarEntryType.CharacterDevice, "null") { DeviceMajor = 1, DeviceMinor = 3 }]),
            ];
            foreach (var (why, entries) in attacks)
            {
                var (status, code) = await PutAsync("/in", await TarAsync(entries), "", FileTypes.Tar);
                Assert.True(status is 400 or 409, $"{why}: {status} {code}");
                Assert.Equal(["victim"], outside.GetFileSystemInfos().Select(file => file.Name));
                Assert.Equal("safe", await File.ReadAllTextAsync(Path.Combine(outside.FullName, "victim"), Token));
                Assert.Equal(["in"], Directory.GetFileSystemEntries(Root).Select(Path.GetFileName));
            }

            // A file replaces a link; it is never written through one.
            Assert.Equal((204, null), await PutAsync("/in", await TarAsync([Link("f", $"{outside.FullName}/victim"), Text("f")]), "", FileTypes.Tar));
            Assert.Equal("safe", await File.ReadAllTextAsync(Path.Combine(outside.FullName, "victim"), Token));
            Assert.Equal("x", await File.ReadAllTextAsync(Path.Combine(Root, "in/f"), Token));
        }
        finally
        {
            outside.Delete(recursive: true);
        }
    }

    [Fact]
    public async Task A_broken_archive_is_refused()
    {
        var archive = await TarAsync([Text("ok"), new PaxTarEntry(TarEntryType.RegularFile, "big") { DataStream = new MemoryStream(new byte[100_000]) }]);
        foreach (var bytes in new[] { "this is no archive"u8.ToArray(), archive[..^60_000], [.. archive.Select(b => (byte)~b)] })
        {
            Assert.Equal((400, ErrorCodes.InvalidRequest), await PutAsync("/in", bytes, "", FileTypes.Tar));
        }
    }

    [Fact]
    public async Task A_tree_is_removed_however_deep()
    {
        var path = Path.Combine(Root, "t");
        Directory.CreateDirectory(path);
        var deep = path;
        for (var i = 0; i < 200; i++)
        {
            deep = Path.Combine(deep, "d");
            Directory.CreateDirectory(deep);
            await File.WriteAllTextAsync(Path.Combine(deep, "f"), "x", Token);
        }

        Assert.Equal((409, ErrorCodes.FileConflict), await DeleteAsync("/t"));
        Assert.Equal((204, null), await DeleteAsync("/t&recursive=1"));
        Assert.Empty(Directory.GetFileSystemEntries(Root));
    }

    private static PaxTarEntry Text(string name) => new(TarEntryType.RegularFile, name) { DataStream = new MemoryStream("x"u8.ToArray()) };

    private static PaxTarEntry Link(string name, string target) => new(TarEntryType.SymbolicLink, name) { LinkName = target };

    private static PaxTarEntry Hard(string name, string target) => new(TarEntryType.HardLink, name) { LinkName = target };

    private static async Task<byte[]> TarAsync(IEnumerable<TarEntry> entries)
    {
        using var bytes = new MemoryStream();
        await using (var writer = new TarWriter(bytes, leaveOpen: true))
        {
            foreach (var entry in entries)
            {
                await writer.WriteEntryAsync(entry, Token);
            }
        }

        return bytes.ToArray();
    }

    private async Task<(int Status, string? Code)> PutAsync(string path, byte[] content, string more = "", string type = "application/octet-stream")
    {
        using var body = new ByteArrayContent(content);
        body.Headers.ContentType = new MediaTypeHeaderValue(type);
        using var response = await _client.PutAsync($"/v1/agent/files?path={path}{more}", body, Token);
        return await OutcomeAsync(response);
    }

    private async Task<(int Status, string? Code)> GetAsync(string path)
    {
        using var response = await _client.GetAsync($"/v1/agent/files?path={path}", Token);
        return await OutcomeAsync(response);
    }

    private async Task<(int Status, string? Code)> DeleteAsync(string path)
    {
        using var response = await _client.DeleteAsync($"/v1/agent/files?path={path}", Token);
        return await OutcomeAsync(response);
    }

    private async Task<FileStat> StatAsync(string path) => (await _client.GetFromJsonAsync($"/v1/agent/files/stat?path={path}", ContractsJson.Default.FileStat, Token))!;

    private static async Task<(int Status, string? Code)> OutcomeAsync(HttpResponseMessage response) =>
        ((int)response.StatusCode, response.IsSuccessStatusCode ? null : (await response.Content.ReadFromJsonAsync(ContractsJson.Default.Problem, Token))!.Code);

    private sealed class EndlessContent(TaskCompletionSource started) : HttpContent
    {
        protected override Task SerializeToStreamAsync(Stream stream, TransportContext? context) => SerializeToStreamAsync(stream, context, Token);

        protected override async Task SerializeToStreamAsync(Stream stream, TransportContext? context, CancellationToken cancellationToken)
        {
            await stream.WriteAsync(Encoding.ASCII.GetBytes("half"), cancellationToken);
            await stream.FlushAsync(cancellationToken);
            started.SetResult();
            await Task.Delay(Timeout.InfiniteTimeSpan, TimeProvider.System, cancellationToken);
        }

        protected override bool TryComputeLength(out long length)
        {
            length = 0;
            return false;
        }
    }
}
