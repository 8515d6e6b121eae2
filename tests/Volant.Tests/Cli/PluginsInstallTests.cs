using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Volant.Cli;
using Volant.Contracts.Manifests;

namespace Volant.Tests.Cli;

public sealed class PluginsInstallTests : IDisposable
{
    private readonly DirectoryInfo _directory = Directory.CreateTempSubdirectory("volar");

    public void Dispose() => _directory.Delete(recursive: true);

    [Theory]
    [InlineData(false, false)]
    [InlineData(true, false)]
    [InlineData(false, true)]
    public async Task Install_uploads_what_is_new_and_names_the_uploads(bool there, bool byOption)
    {
        var digest = Write("media/root.cpio", "boot medium");
        var disk = Write("data.img", "disk");
        var file = WriteText("hello.json", Manifest("media/root.cpio", $"SHA256:{digest.ToUpperInvariant()}", disks: $$"""[{"name":"data","source":"file://{{_directory.FullName}}/data.img"}]"""));
        await using var daemon = await FakeDaemon.StartAsync((context, seen) => seen.Method switch
        {
            "HEAD" => context.JsonAsync(there ? 200 : 404, string.Empty),
            "PUT" => context.JsonAsync(201, $$"""{"sha256":"{{digest}}","size_bytes":1,"url":"x"}"""),
            _ => context.JsonAsync(201, seen.Text),
        });

        var result = await TestCli.For(daemon).RunAsync(["plugins", "install", .. byOption ? ["--manifest", file] : new[] { file }]);

        Assert.Equal(0, result.ExitCode);
        daemon.AssertSaw(
            there
                ? [$"HEAD /api/v1/artifacts/{disk}", $"HEAD /api/v1/artifacts/{digest}", "POST /api/v1/plugins"]
                : [$"HEAD /api/v1/artifacts/{disk}", $"PUT /api/v1/artifacts/{disk}", $"HEAD /api/v1/artifacts/{digest}", $"PUT /api/v1/artifacts/{digest}", "POST /api/v1/plugins"]);
        if (!there)
        {
            Assert.Equal("boot medium", daemon.Seen[3].Text);
            Assert.Equal("application/octet-stream", daemon.Seen[3].Headers.ContentType);
            Assert.Equal(11, daemon.Seen[3].Headers.ContentLength);
        }

        var sent = ManifestReader.Read(daemon.Seen[^1].Body);
        Assert.Equal($"volant://sha256/{digest}", sent.Initramfs?.Url);
        Assert.Equal(digest, sent.Initramfs?.Checksum);
        Assert.Equal($"volant://sha256/{disk}", sent.Disks?[0].Source);
        Assert.Equal(disk, sent.Disks?[0].Checksum);
        Assert.Contains("Installed plugin 'hello'.", result.Error, StringComparison.Ordinal);
        Assert.Contains("hello  1.0.0    hello", result.Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_manifest_is_sent_as_written_but_for_its_references()
    {
        var digest = Write("root.cpio", "boot medium");
        var file = WriteText("hello.json", Manifest("root.cpio", checksum: null));
        await using var daemon = await FakeDaemon.StartAsync((context, seen) => context.JsonAsync(200, "{}"));

        await TestCli.For(daemon).RunAsync("plugins", "install", file);

        var expected = JsonElement.Parse(Manifest($"volant://sha256/{digest}", $"sha256:{digest}"));
        Assert.True(JsonElement.DeepEquals(expected, JsonElement.Parse(daemon.Seen[^1].Body)), daemon.Seen[^1].Text);
    }

    [Fact]
    public async Task Installing_again_is_a_success_that_says_so()
    {
        Write("root.cpio", "boot medium");
        var file = WriteText("hello.json", Manifest("root.cpio", checksum: null));
        await using var daemon = await FakeDaemon.StartAsync((context, seen) => context.JsonAsync(200, """{"name":"hello"}"""));

        var result = await TestCli.For(daemon).RunAsync("plugins", "install", file, "-o", "json");

        Assert.Equal(new CliResult(0, "{\n  \"name\": \"hello\"\n}\n", "Replaced plugin 'hello'.\n"), result);
    }

    [Fact]
    public async Task A_wrong_checksum_stops_before_anything_is_sent()
    {
        Write("root.cpio", "boot medium");
        Write("other.img", "other");
        var file = WriteText("hello.json", Manifest("root.cpio", new string('0', 64), disks: """[{"name":"data","source":"other.img"}]"""));
        await using var daemon = await FakeDaemon.StartAsync((context, _) => context.JsonAsync(200, "{}"));

        var result = await TestCli.For(daemon).RunAsync("plugins", "install", file);

        Assert.Equal(ExitCodes.Failed, result.ExitCode);
        Assert.Empty(daemon.Seen);
        Assert.Contains("initramfs.checksum says 0000", result.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Every_fault_of_the_manifest_is_told_without_asking_the_daemon()
    {
        var file = WriteText("bad.json", """{"schema_version":"9","name":"../x","version":"1","resources":{"cpu_cores":0,"memory_mb":1},"initramfs":{"url":"ftp://x"}}""");

        var result = await new TestCli().RunAsync("plugins", "install", file);

        Assert.Equal(ExitCodes.Failed, result.ExitCode);
        Assert.StartsWith($"Error: The manifest {file} is not valid.\n", result.Error, StringComparison.Ordinal);
        Assert.All(["schema_version", "name", "resources.cpu_cores", "workload", "initramfs.url"], path => Assert.Contains($"\n  {path}: ", result.Error, StringComparison.Ordinal));
    }

    [Fact]
    public async Task Faults_come_as_a_problem_with_json_output()
    {
        var file = WriteText("bad.json", """{"naem": 1}""");

        var result = await new TestCli().RunAsync("plugins", "install", file, "--output", "json");

        var problem = JsonElement.Parse(result.Error);
        Assert.Equal("invalid_document", problem.GetProperty("code").GetString());
        Assert.Contains("naem", problem.GetProperty("errors").GetProperty("naem")[0].GetString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_absolute_path_that_is_not_here_is_left_to_the_daemon()
    {
        var file = WriteText("hello.json", Manifest("/images/of/the/daemon.cpio", checksum: null));
        await using var daemon = await FakeDaemon.StartAsync((context, _) => context.JsonAsync(201, "{}"));

        var result = await TestCli.For(daemon).RunAsync("plugins", "install", file);

        Assert.Equal(0, result.ExitCode);
        Assert.Contains("volantd looks for it on its own host", result.Error, StringComparison.Ordinal);
        Assert.Equal("/images/of/the/daemon.cpio", ManifestReader.Read(daemon.Seen.Single().Body).Initramfs?.Url);
    }

    [Fact]
    public async Task What_is_no_regular_file_is_not_read()
    {
        var file = WriteText("hello.json", Manifest("/dev/zero", checksum: null));
        await using var daemon = await FakeDaemon.StartAsync((context, _) => context.JsonAsync(201, "{}"));

        var result = await TestCli.For(daemon).RunAsync("plugins", "install", file);

        Assert.Equal(ExitCodes.Failed, result.ExitCode);
        Assert.Contains("'/dev/zero' is empty or no regular file", result.Error, StringComparison.Ordinal);
        Assert.Empty(daemon.Seen);
    }

    [Theory]
    [InlineData("missing.json", "does not exist")]
    [InlineData("/dev/zero", "more than 262144 bytes")]
    public async Task A_manifest_that_cannot_be_read_is_named(string name, string word)
    {
        var result = await new TestCli { WorkingDirectory = _directory.FullName }.RunAsync("plugins", "install", name);

        Assert.Equal(ExitCodes.Failed, result.ExitCode);
        Assert.Contains(Path.Combine(_directory.FullName, name), result.Error, StringComparison.Ordinal);
        Assert.Contains(word, result.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_upload_that_the_daemon_refuses_ends_with_its_reason()
    {
        Write("root.cpio", "boot medium");
        var file = WriteText("hello.json", Manifest("root.cpio", checksum: null));
        await using var daemon = await FakeDaemon.StartAsync((context, seen) => seen.Method == "HEAD"
            ? context.JsonAsync(404, string.Empty)
            : context.ProblemAsync(507, "disk_full", "The disk is full."));

        var result = await TestCli.For(daemon).RunAsync("plugins", "install", file);

        Assert.Equal(ExitCodes.Failed, result.ExitCode);
        Assert.Contains("Error: The disk is full.", result.Error, StringComparison.Ordinal);
        Assert.DoesNotContain(daemon.Seen, seen => seen.Method == "POST");
    }

    [Fact]
    public async Task A_look_up_that_the_daemon_refuses_ends_with_its_reason()
    {
        Write("root.cpio", "boot medium");
        var file = WriteText("hello.json", Manifest("root.cpio", checksum: null));
        await using var daemon = await FakeDaemon.StartAsync((context, seen) => context.ProblemAsync(401, "unauthorized", "The key is wrong."));

        var result = await TestCli.For(daemon).RunAsync("plugins", "install", file);

        Assert.Equal(ExitCodes.Failed, result.ExitCode);
        Assert.Contains("Error: The key is wrong.", result.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Progress_is_drawn_on_a_terminal_only()
    {
        Write("root.cpio", new string('x', 2_000_000));
        var file = WriteText("hello.json", Manifest("root.cpio", checksum: null));
        await using var daemon = await FakeDaemon.StartAsync((context, seen) => context.JsonAsync(seen.Method == "HEAD" ? 404 : 201, "{}"));

        var pipe = await TestCli.For(daemon).RunAsync("plugins", "install", file);
        var terminal = await new TestCli { ErrorIsTerminal = true, Environment = { ["VOLANT_API_BASE"] = daemon.Address } }.RunAsync("plugins", "install", file);

        Assert.Equal($"Uploading {_directory.FullName}/root.cpio (1.9 MiB)\nInstalled plugin 'hello'.\n", pipe.Error);
        Assert.Contains("\r\x1b[2Kroot.cpio  256.0 KiB of 1.9 MiB  13 %", terminal.Error, StringComparison.Ordinal);
        Assert.Equal(2_000_000, daemon.Seen.First(seen => seen.Method == "PUT").Body.Length);
    }

    [Fact]
    public async Task A_cloud_init_file_becomes_inline()
    {
        Write("root.cpio", "boot medium");
        WriteText("user-data", "#cloud-config\nhostname: ß\n");
        var file = WriteText("hello.json", Manifest("root.cpio", checksum: null, cloudInit: """{"user_data":{"path":"user-data"},"meta_data":{"inline":true,"content":"a: b"}}"""));
        await using var daemon = await FakeDaemon.StartAsync((context, _) => context.JsonAsync(201, "{}"));

        await TestCli.For(daemon).RunAsync("plugins", "install", file);

        var sent = ManifestReader.Read(daemon.Seen[^1].Body).CloudInit;
        Assert.Equal(new CloudInitDocument { Inline = true, Content = "#cloud-config\nhostname: ß\n" }, sent?.UserData);
        Assert.Equal(new CloudInitDocument { Inline = true, Content = "a: b" }, sent?.MetaData);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_manifest_from_a_url_is_fetched_without_the_key_and_resolved_against_it(bool byOption)
    {
        await using var site = await FakeDaemon.StartAsync((context, seen) =>
        {
            if (seen.Target == "/moved.json")
            {
                context.Response.Redirect("/dir/hello.json");
                return Task.CompletedTask;
            }

            return context.JsonAsync(200, Manifest("root.cpio", checksum: null));
        });
        await using var daemon = await FakeDaemon.StartAsync((context, _) => context.JsonAsync(201, "{}"));
        var cli = TestCli.For(daemon);
        cli.Environment["VOLANT_API_KEY"] = "k3y";

        var result = await cli.RunAsync(["plugins", "install", .. byOption ? ["--url", site.Address + "/moved.json"] : new[] { site.Address + "/moved.json" }]);

        Assert.Equal(0, result.ExitCode);
        Assert.All(site.Seen, seen => Assert.False(seen.Headers.ContainsKey("X-Volant-API-Key")));
        Assert.Equal($"{site.Address}/dir/root.cpio", ManifestReader.Read(daemon.Seen.Single().Body).Initramfs?.Url);
    }

    [Fact]
    public async Task A_manifest_from_a_url_reads_no_file_of_this_machine()
    {
        var secret = WriteText("id_rsa", "secret");
        await using var site = await FakeDaemon.StartAsync((context, seen) => context.JsonAsync(200, seen.Target == "/media.json"
            ? Manifest(secret, checksum: null)
            : Manifest("http://host/x", checksum: null, cloudInit: $$$"""{"user_data":{"path":"{{{secret}}}"}}""")));
        await using var daemon = await FakeDaemon.StartAsync((context, _) => context.JsonAsync(201, "{}"));

        var media = await TestCli.For(daemon).RunAsync("plugins", "install", site.Address + "/media.json");
        var seed = await TestCli.For(daemon).RunAsync("plugins", "install", site.Address + "/seed.json");

        daemon.AssertSaw("POST /api/v1/plugins");
        Assert.Equal(secret, ManifestReader.Read(daemon.Seen[0].Body).Initramfs?.Url);
        Assert.Equal(0, media.ExitCode);
        Assert.Equal(ExitCodes.Failed, seed.ExitCode);
        Assert.Contains("cloud_init.user_data.path: names a local file", seed.Error, StringComparison.Ordinal);
        Assert.DoesNotContain(daemon.Seen, seen => seen.Text.Contains("\"secret\"", StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_manifest_from_a_url_has_a_size_and_a_time_limit_and_a_status()
    {
        await using var site = await FakeDaemon.StartAsync(async (context, seen) =>
        {
            if (seen.Target == "/slow")
            {
                await Task.Delay(Timeout.InfiniteTimeSpan, TimeProvider.System, context.RequestAborted);
            }

            await context.JsonAsync(seen.Target == "/large" ? 200 : 404, new string(' ', ManifestReader.MaxBytes + 1));
        });

        var large = await new TestCli().RunAsync("plugins", "install", site.Address + "/large");
        var absent = await new TestCli().RunAsync("plugins", "install", site.Address + "/absent");
        var slow = await new TestCli { Clock = new JumpingClock(TimeSpan.FromSeconds(30)) }.RunAsync("plugins", "install", site.Address + "/slow");

        Assert.Contains("more than 262144 bytes", large.Error, StringComparison.Ordinal);
        Assert.Contains("the server answered 404", absent.Error, StringComparison.Ordinal);
        Assert.Equal((ExitCodes.Failed, ExitCodes.Failed, ExitCodes.TimedOut), (large.ExitCode, absent.ExitCode, slow.ExitCode));
    }

    [Fact]
    public async Task Ctrl_c_ends_an_upload()
    {
        Write("root.cpio", "boot medium");
        var file = WriteText("hello.json", Manifest("root.cpio", checksum: null));
        using var interrupt = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        await using var daemon = await FakeDaemon.StartAsync(async (context, seen) =>
        {
            if (seen.Method == "PUT")
            {
                await interrupt.CancelAsync();
                await Task.Delay(Timeout.InfiniteTimeSpan, TimeProvider.System, context.RequestAborted);
            }

            await context.JsonAsync(404, string.Empty);
        });

        var result = await TestCli.For(daemon).InterruptibleAsync(interrupt.Token, "plugins", "install", file);

        Assert.Equal(ExitCodes.Interrupted, result.ExitCode);
        Assert.EndsWith("Interrupted.\n", result.Error, StringComparison.Ordinal);
    }

    private static string Manifest(string url, string? checksum, string? disks = null, string? cloudInit = null)
    {
        var sum = checksum is null ? string.Empty : $",\"checksum\":\"{checksum}\"";
        var rest = (disks is null ? string.Empty : $",\"disks\":{disks}") + (cloudInit is null ? string.Empty : $",\"cloud_init\":{cloudInit}");
        return $$$"""
            {"schema_version":"1.0","name":"hello","version":"1.0.0","resources":{"cpu_cores":1,"memory_mb":256},
             "workload":{"type":"http","entrypoint":["/bin/hello"],"base_url":"http://127.0.0.1:8080","env":{"GREETING":" hi "}},
             "initramfs":{"url":"{{{url}}}"{{{sum}}} }{{{rest}}} }
            """;
    }

    /// <summary>Writes a file and returns its digest.</summary>
    private string Write(string name, string text)
    {
        WriteText(name, text);
        return Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text)));
    }

    private string WriteText(string name, string text)
    {
        var path = Path.Combine(_directory.FullName, name);
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        File.WriteAllText(path, text);
        return path;
    }
}
