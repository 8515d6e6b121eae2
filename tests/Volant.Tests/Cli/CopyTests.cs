using System.Formats.Tar;
using Microsoft.AspNetCore.Http;
using Volant.Cli;

namespace Volant.Tests.Cli;

public sealed class CopyTests : IDisposable
{
    private const string Missing = "/api/v1/vms/web/files/stat?path=";

    private readonly DirectoryInfo _directory = Directory.CreateTempSubdirectory("volar-cp-");

    public void Dispose() => _directory.Delete(recursive: true);

    [Fact]
    public async Task A_file_travels_with_its_mode_and_lands_inside_a_directory()
    {
        var file = Path.Combine(_directory.FullName, "app.conf");
        await File.WriteAllTextAsync(file, "content", TestContext.Current.CancellationToken);
        File.SetUnixFileMode(file, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead);
        await using var daemon = await FakeDaemon.StartAsync((context, seen) => seen.Method == "PUT"
            ? context.JsonAsync(201, "{}")
            : context.JsonAsync(200, """{"name":"etc","type":"directory","size":1,"mode":"0755","uid":0,"gid":0,"modified_at":"2026-03-01T12:00:00Z"}"""));

        var result = await Cli(daemon).RunAsync("vms", "cp", "app.conf", "web:/etc");

        Assert.Equal((ExitCodes.Ok, string.Empty), (result.ExitCode, result.Error));
        Assert.Equal("PUT /api/v1/vms/web/files?path=%2Fetc%2Fapp.conf&mode=0640", daemon.Seen[1].Line);
        Assert.Equal("content", daemon.Seen[1].Text);
    }

    [Fact]
    public async Task A_directory_travels_as_tar_with_links_and_without_pipes()
    {
        var source = _directory.CreateSubdirectory("site");
        await File.WriteAllTextAsync(Path.Combine(source.FullName, "index.html"), "<p>", TestContext.Current.CancellationToken);
        source.CreateSubdirectory("css");
        File.CreateSymbolicLink(Path.Combine(source.FullName, "home"), "/etc/passwd");
        await using var daemon = await FakeDaemon.StartAsync((context, seen) => seen.Method == "PUT" ? context.JsonAsync(201, "{}") : context.ProblemAsync(404, "file_not_found", "No such file."));

        var result = await Cli(daemon).RunAsync("vms", "cp", "site", "web:/srv/site");

        Assert.Equal((ExitCodes.Ok, string.Empty), (result.ExitCode, result.Error));
        var put = daemon.Seen[1];
        Assert.Equal("PUT /api/v1/vms/web/files?path=%2Fsrv%2Fsite", put.Line);
        Assert.Equal("application/x-tar", put.Headers.ContentType);
        Assert.Equal(["./ Directory", "./css/ Directory", "./home SymbolicLink", "./index.html RegularFile"], Entries(put.Body));
    }

    [Fact]
    public async Task A_directory_comes_out_and_a_file_replaces_one_whole()
    {
        var archive = Tar(tar =>
        {
            tar.WriteEntry(new PaxTarEntry(TarEntryType.Directory, "./") { Mode = (UnixFileMode)0x1ed });
            tar.WriteEntry(new PaxTarEntry(TarEntryType.Directory, "./sub/") { Mode = (UnixFileMode)0x140 });
            tar.WriteEntry(new PaxTarEntry(TarEntryType.RegularFile, "./sub/a") { Mode = (UnixFileMode)0x9ed, DataStream = new MemoryStream("A"u8.ToArray()) });
            tar.WriteEntry(new PaxTarEntry(TarEntryType.SymbolicLink, "./link") { LinkName = "/etc/shadow" });
            tar.WriteEntry(new PaxTarEntry(TarEntryType.Fifo, "./pipe"));
        });
        await using var daemon = await FakeDaemon.StartAsync((context, seen) => seen.Target.Contains("/stat", StringComparison.Ordinal)
            ? context.JsonAsync(200, """{"name":"f","type":"file","size":3,"mode":"4751","uid":0,"gid":0,"modified_at":"2026-03-01T12:00:00Z"}""")
            : seen.Target.EndsWith("dir", StringComparison.Ordinal) ? BytesAsync(context, archive, "application/x-tar") : BytesAsync(context, "new"u8.ToArray(), "application/octet-stream"));
        await File.WriteAllTextAsync(Path.Combine(_directory.FullName, "f"), "old and longer", TestContext.Current.CancellationToken);

        var directory = await Cli(daemon).RunAsync("vms", "cp", "web:/srv/dir", "out");
        var file = await Cli(daemon).RunAsync("vms", "cp", "web:/srv/f", ".");

        Assert.Equal(ExitCodes.Ok, directory.ExitCode);
        Assert.Contains("'./pipe' is left out", directory.Error, StringComparison.Ordinal);
        Assert.Equal((UnixFileMode)0x140, File.GetUnixFileMode(Path.Combine(_directory.FullName, "out/sub")));
        Assert.Equal((UnixFileMode)0x1ed, File.GetUnixFileMode(Path.Combine(_directory.FullName, "out/sub/a")));
        Assert.Equal("/etc/shadow", new FileInfo(Path.Combine(_directory.FullName, "out/link")).LinkTarget);
        Assert.Equal((ExitCodes.Ok, string.Empty), (file.ExitCode, file.Error));
        Assert.Equal("new", await File.ReadAllTextAsync(Path.Combine(_directory.FullName, "f"), TestContext.Current.CancellationToken));
        Assert.Equal((UnixFileMode)0x1e9, File.GetUnixFileMode(Path.Combine(_directory.FullName, "f")));
        Assert.Equal(["f", "link", "out", "sub", "a"], Directory.EnumerateFileSystemEntries(_directory.FullName, "*", SearchOption.AllDirectories).Select(Path.GetFileName).OrderBy(name => name == "a").ThenBy(name => name, StringComparer.Ordinal));
    }

    [Theory]
    [InlineData("../escaped")]
    [InlineData("/tmp/escaped")]
    [InlineData("a/../../escaped")]
    public async Task An_archive_that_climbs_out_is_refused(string name)
    {
        var archive = Tar(tar => tar.WriteEntry(new PaxTarEntry(TarEntryType.RegularFile, name) { DataStream = new MemoryStream("x"u8.ToArray()) }));

        var result = await OutAsync(archive);

        Assert.Equal(ExitCodes.Failed, result.ExitCode);
        Assert.Contains("lies outside", result.Error, StringComparison.Ordinal);
        Assert.False(File.Exists(Path.Combine(_directory.FullName, "escaped")));
    }

    [Fact]
    public async Task An_archive_never_writes_through_its_own_link()
    {
        var archive = Tar(tar =>
        {
            tar.WriteEntry(new PaxTarEntry(TarEntryType.SymbolicLink, "./door") { LinkName = _directory.FullName });
            tar.WriteEntry(new PaxTarEntry(TarEntryType.RegularFile, "./door/escaped") { DataStream = new MemoryStream("x"u8.ToArray()) });
        });

        var result = await OutAsync(archive);

        Assert.Equal(ExitCodes.Failed, result.ExitCode);
        Assert.False(File.Exists(Path.Combine(_directory.FullName, "escaped")));
    }

    [Theory]
    [InlineData("a", "b", "Neither side is in a VM")]
    [InlineData("x:/a", "y:/b", "Both sides are in VMs")]
    [InlineData("web:etc", ".", "no absolute path")]
    [InlineData("WEB:/etc", ".", "no VM name")]
    public async Task Wrong_sides_are_explained(string source, string target, string message)
    {
        var result = await new TestCli().RunAsync("vms", "cp", source, target);

        Assert.Equal(ExitCodes.Usage, result.ExitCode);
        Assert.Contains(message, result.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_minus_is_an_archive_on_both_sides()
    {
        await using var daemon = await FakeDaemon.StartAsync((context, seen) => seen.Method == "PUT" ? context.JsonAsync(204, string.Empty) : BytesAsync(context, "hello"u8.ToArray(), "application/octet-stream"));
        using var output = new MemoryStream();

        var outside = await new TestCli { Environment = { ["VOLANT_API_BASE"] = daemon.Address }, Output = output }.RunAsync("vms", "cp", "web:/etc/motd", "-");
        var inside = await new TestCli { Environment = { ["VOLANT_API_BASE"] = daemon.Address }, Input = new MemoryStream([1, 2, 3]) }.RunAsync("vms", "cp", "-", "web:/srv");

        Assert.Equal((ExitCodes.Ok, ExitCodes.Ok), (outside.ExitCode, inside.ExitCode));
        Assert.Equal(["motd RegularFile"], Entries(output.ToArray()));
        Assert.Equal(("application/x-tar", 3), (daemon.Seen[1].Headers.ContentType.ToString(), daemon.Seen[1].Body.Length));
        Assert.DoesNotContain(daemon.Lines, line => line.Contains(Missing, StringComparison.Ordinal));
    }

    private TestCli Cli(FakeDaemon daemon) => new() { Environment = { ["VOLANT_API_BASE"] = daemon.Address }, WorkingDirectory = _directory.FullName };

    private async Task<CliResult> OutAsync(byte[] archive)
    {
        await using var daemon = await FakeDaemon.StartAsync((context, _) => BytesAsync(context, archive, "application/x-tar"));
        return await Cli(daemon).RunAsync("vms", "cp", "web:/srv/dir", "out");
    }

    private static async Task BytesAsync(HttpContext context, byte[] bytes, string type)
    {
        context.Response.ContentType = type;
        context.Response.ContentLength = bytes.Length;
        await context.Response.Body.WriteAsync(bytes, context.RequestAborted);
    }

    private static byte[] Tar(Action<TarWriter> write)
    {
        using var archive = new MemoryStream();
        using (var tar = new TarWriter(archive, leaveOpen: true))
        {
            write(tar);
        }

        return archive.ToArray();
    }

    private static List<string> Entries(byte[] archive)
    {
        using var reader = new TarReader(new MemoryStream(archive));
        var names = new List<string>();
        while (reader.GetNextEntry() is { } entry)
        {
            names.Add($"{entry.Name} {entry.EntryType}");
        }

        return names;
    }
}
