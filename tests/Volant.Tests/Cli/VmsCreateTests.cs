using System.Security.Cryptography;
using System.Text.Json;
using Volant.Cli;
using Volant.Contracts.Api;

namespace Volant.Tests.Cli;

public sealed class VmsCreateTests : IDisposable
{
    private readonly DirectoryInfo _directory = Directory.CreateTempSubdirectory("volar");

    public void Dispose() => _directory.Delete(recursive: true);

    [Fact]
    public async Task Create_sends_only_what_was_said()
    {
        await using var daemon = await FakeDaemon.StartAsync((context, _) => context.JsonAsync(201, FakeAnswers.Vm()));

        var result = await TestCli.For(daemon).RunAsync("vms", "create", "web", "--plugin", "hello");

        Assert.Equal(0, result.ExitCode);
        Assert.Equal("POST /api/v1/vms", daemon.Lines.Single());
        Assert.Equal("""{"name":"web","plugin":"hello"}""", daemon.Seen[0].Text);
        Assert.Equal("application/json", daemon.Seen[0].Headers.ContentType);
        Assert.StartsWith("NAME  STATUS", result.Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Every_option_arrives_in_its_member()
    {
        await using var daemon = await FakeDaemon.StartAsync((context, _) => context.JsonAsync(201, FakeAnswers.Vm()));

        await TestCli.For(daemon).RunAsync(
            "vms", "create", "web", "--plugin", "hello", "--runtime", "node", "--cpu", "4", "--memory", "1024", "--kernel-cmdline", "debug a=b", "--api-host", "0.0.0.0",
            "--api-port", "8080", "--kernel", "/images/bzImage", "--initramfs", "https://host/x.cpio", "--initramfs-checksum", new string('a', 64),
            "--device", "0000:01:00.0", "--device", "0000:01:00.1", "--device-allowlist", "10de:*", "--volume", "data", "--volume", "logs:vdc", "--volume", "shared:ro", "--volume", "more:vdd:ro", "--restart", "on-failure");

        Assert.True(JsonElement.DeepEquals(
            JsonElement.Parse($$"""
                {
                  "name": "web", "plugin": "hello", "runtime": "node", "cpu_cores": 4, "memory_mb": 1024, "kernel_cmdline": "debug a=b",
                  "api_host": "0.0.0.0", "api_port": 8080,
                  "config": {
                    "kernel_override": "/images/bzImage",
                    "initramfs": {"url": "https://host/x.cpio", "checksum": "{{new string('a', 64)}}" },
                    "devices": {"pci_passthrough": ["0000:01:00.0", "0000:01:00.1"], "allowlist": ["10de:*"]},
                    "volumes": [{"name": "data"}, {"name": "logs", "target": "vdc"}, {"name": "shared", "readonly": true}, {"name": "more", "target": "vdd", "readonly": true}],
                    "restart": {"policy": "on-failure"}
                  }
                }
                """),
            JsonElement.Parse(daemon.Seen.Single().Body)),
            daemon.Seen[0].Text);
    }

    [Theory]
    [InlineData("")]
    [InlineData(":vdb")]
    [InlineData("data:vdb:rw")]
    [InlineData("data::ro")]
    public async Task A_volume_that_is_not_said_clearly_is_refused(string volume)
    {
        await using var daemon = await FakeDaemon.StartAsync((context, _) => context.JsonAsync(201, FakeAnswers.Vm()));

        var result = await TestCli.For(daemon).RunAsync("vms", "create", "web", "--plugin", "hello", "--volume", volume);

        Assert.Equal(2, result.ExitCode);
        Assert.Contains("such as data:vdb", result.Error, StringComparison.Ordinal);
        Assert.Empty(daemon.Seen);
    }

    [Fact]
    public async Task Options_win_over_the_configuration_file_and_its_files_are_uploaded()
    {
        var initramfs = Write("disk/initramfs.cpio", "an initramfs");
        Write("user-data", "#cloud-config\n");
        var config = Write("web.json", """
            {
              "plugin": "from-file", "kernel_override": "/images/a", "metadata": {"owner": ["me"]},
              "initramfs": {"url": "disk/initramfs.cpio"},
              "cloud_init": {"user_data": {"path": "user-data"}},
              "devices": {"pci_passthrough": ["0000:02:00.0"], "allowlist": ["8086:*"]}
            }
            """);
        var digest = Convert.ToHexStringLower(SHA256.HashData(await File.ReadAllBytesAsync(initramfs, TestContext.Current.CancellationToken)));
        await using var daemon = await FakeDaemon.StartAsync((context, seen) => seen.Method switch
        {
            "HEAD" => context.JsonAsync(404, string.Empty),
            "PUT" => context.JsonAsync(201, "{}"),
            _ => context.JsonAsync(201, FakeAnswers.Vm()),
        });

        var result = await TestCli.For(daemon).RunAsync("vms", "create", "web", "--config", config, "--kernel", "/images/b", "--device", "0000:01:00.0");

        Assert.Equal(0, result.ExitCode);
        daemon.AssertSaw($"HEAD /api/v1/artifacts/{digest}", $"PUT /api/v1/artifacts/{digest}", "POST /api/v1/vms");
        Assert.True(JsonElement.DeepEquals(
            JsonElement.Parse($$"""
                {
                  "name": "web", "plugin": "from-file",
                  "config": {
                    "plugin": "from-file", "kernel_override": "/images/b", "metadata": {"owner": ["me"]},
                    "initramfs": {"url": "volant://sha256/{{digest}}", "checksum": "sha256:{{digest}}" },
                    "cloud_init": {"user_data": {"inline": true, "content": "#cloud-config\n"} },
                    "devices": {"pci_passthrough": ["0000:01:00.0"], "allowlist": ["8086:*"]}
                  }
                }
                """),
            JsonElement.Parse(daemon.Seen[2].Body)),
            daemon.Seen[2].Text);
    }

    [Fact]
    public async Task A_change_of_the_configuration_uploads_what_it_names_and_keeps_its_nulls()
    {
        var initramfs = Write("disk/initramfs.cpio", "an initramfs");
        Write("user-data", "#cloud-config\n");
        var patch = Write("web.json", """
            {
              "restart": null, "resources": {"memory_mb": null}, "rootfs": null, "metadata": {"initramfs": {"url": "disk/initramfs.cpio"}},
              "initramfs": {"url": "disk/initramfs.cpio"}, "manifest": {"version": "2", "openapi": null, "disks": [{"name": "d", "source": "disk/initramfs.cpio"}]},
              "cloud_init": {"user_data": {"path": "user-data"}, "meta_data": null}
            }
            """);
        var digest = Convert.ToHexStringLower(SHA256.HashData(await File.ReadAllBytesAsync(initramfs, TestContext.Current.CancellationToken)));
        await using var daemon = await FakeDaemon.StartAsync((context, seen) => seen.Method switch
        {
            "HEAD" => context.JsonAsync(404, string.Empty),
            "PUT" => context.JsonAsync(201, "{}"),
            _ => context.JsonAsync(200, """{"version":2,"updated_at":"2026-03-01T12:00:00Z","config":{}}"""),
        });

        var result = await TestCli.For(daemon).RunAsync("vms", "config", "set", "web", "--file", patch);

        Assert.Equal((0, string.Empty), (result.ExitCode, result.Output));
        daemon.AssertSaw($"HEAD /api/v1/artifacts/{digest}", $"PUT /api/v1/artifacts/{digest}", "PATCH /api/v1/vms/web/config");
        Assert.True(JsonElement.DeepEquals(
            JsonElement.Parse($$"""
                {
                  "restart": null, "resources": {"memory_mb": null}, "rootfs": null, "metadata": {"initramfs": {"url": "disk/initramfs.cpio"} },
                  "initramfs": {"url": "volant://sha256/{{digest}}", "checksum": "sha256:{{digest}}" },
                  "manifest": {"version": "2", "openapi": null, "disks": [{"name": "d", "source": "volant://sha256/{{digest}}", "checksum": "sha256:{{digest}}"}]},
                  "cloud_init": {"user_data": {"inline": true, "content": "#cloud-config\n"}, "meta_data": null}
                }
                """),
            JsonElement.Parse(daemon.Seen[2].Body)),
            daemon.Seen[2].Text);
    }

    [Theory]
    [InlineData("""{"initramfs": {"urll": "x"}}""", "initramfs.urll")]
    [InlineData("""{"cloud_init": {"user_data": {"path": "nothing"}}}""", "cloud_init.user_data.path")]
    [InlineData("[]", "holds no JSON object")]
    public async Task A_change_that_is_not_valid_is_named_and_nothing_is_sent(string json, string word)
    {
        var patch = Write("web.json", json);
        await using var daemon = await FakeDaemon.StartAsync();

        var result = await TestCli.For(daemon).RunAsync("vms", "config", "set", "web", "--file", patch);

        Assert.Equal(ExitCodes.Failed, result.ExitCode);
        Assert.Contains(word, result.Error, StringComparison.Ordinal);
        Assert.Empty(daemon.Seen);
    }

    [Fact]
    public async Task A_local_initramfs_is_relative_to_the_working_directory_and_checked()
    {
        Write("my.cpio", "an initramfs");
        await using var daemon = await FakeDaemon.StartAsync((context, seen) => context.JsonAsync(seen.Method == "POST" ? 201 : 200, FakeAnswers.Vm()));
        var cli = new TestCli { WorkingDirectory = _directory.FullName, Environment = { ["VOLANT_API_BASE"] = daemon.Address } };

        var good = await cli.RunAsync("vms", "create", "web", "--plugin", "hello", "--initramfs", "my.cpio");
        var bad = await cli.RunAsync("vms", "create", "web", "--plugin", "hello", "--initramfs", "my.cpio", "--initramfs-checksum", new string('0', 64));

        Assert.Equal(0, good.ExitCode);
        Assert.Equal("HEAD POST", string.Join(' ', daemon.Seen.Select(seen => seen.Method)));
        Assert.Equal(ExitCodes.Failed, bad.ExitCode);
        Assert.Contains("initramfs.checksum says 0000", bad.Error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("{", "not valid JSON")]
    [InlineData("""{"cpus": 3}""", "'cpus'")]
    [InlineData("""{"api": {"port": "x"}}""", "api.port")]
    [InlineData("""{"cloud_init": {"user_data": {"path": "missing"}}}""", "cloud_init.user_data.path")]
    public async Task A_configuration_that_is_not_valid_names_the_member_and_nothing_is_sent(string json, string word)
    {
        var config = Write("bad.json", json);

        var result = await new TestCli().RunAsync("vms", "create", "web", "--plugin", "hello", "--config", config);

        Assert.Equal(ExitCodes.Failed, result.ExitCode);
        Assert.Contains(word, result.Error, StringComparison.Ordinal);
        Assert.Contains("bad.json", result.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Wait_lets_the_daemon_wait_and_shows_how_far_it_is_on_a_terminal()
    {
        await using var daemon = await FakeDaemon.StartAsync((context, _) => context.JsonAsync(201, FakeAnswers.Vm()));
        var cli = new TestCli { ErrorIsTerminal = true, Environment = { ["VOLANT_API_BASE"] = daemon.Address } };

        var result = await cli.RunAsync("vms", "create", "web", "--plugin", "hello", "--wait", "--timeout", "30");

        Assert.Equal(0, result.ExitCode);
        Assert.Contains("POST /api/v1/vms?wait=ready&timeout=30", daemon.Lines, StringComparer.Ordinal);
        Assert.Contains("running", result.Output, StringComparison.Ordinal);
        Assert.StartsWith("\r\x1b[2KWaiting for VM 'web' to be ready: asking volantd, 0 s", result.Error, StringComparison.Ordinal);
        Assert.Matches(@"\r\x1b\[2KVM 'web' took [0-9.]+ s to be ready\.\n", result.Error);
    }

    [Fact]
    public async Task Wait_goes_on_asking_a_daemon_that_answers_early()
    {
        var asked = 0;
        await using var daemon = await FakeDaemon.StartAsync((context, _) =>
            context.JsonAsync(200, ++asked < 4 ? FakeAnswers.Vm(status: VmStatus.Starting, ready: false) : FakeAnswers.Vm()));

        var result = await TestCli.For(daemon).RunAsync("vms", "create", "web", "--plugin", "hello", "--wait", "-o", "json");

        Assert.Equal(0, result.ExitCode);
        Assert.Equal(4, asked);
        Assert.True(JsonElement.Parse(result.Output).GetProperty("ready").GetBoolean());
        Assert.Empty(result.Error);
    }

    [Fact]
    public async Task Wait_ends_at_the_limit_and_says_that_the_vm_goes_on()
    {
        await using var daemon = await FakeDaemon.StartAsync((context, _) => context.JsonAsync(201, FakeAnswers.Vm(ready: false)));

        var result = await TestCli.For(daemon).RunAsync("vms", "create", "web", "--plugin", "hello", "--wait", "--timeout", "3");

        Assert.Equal(ExitCodes.TimedOut, result.ExitCode);
        Assert.Equal(7, daemon.Seen.Count);
        Assert.Contains("is not ready after 3 s; it is running", result.Error, StringComparison.Ordinal);
        Assert.Contains("volar vms logs web", result.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Wait_ends_when_the_vm_crashed_and_says_why()
    {
        await using var daemon = await FakeDaemon.StartAsync((context, _) => context.JsonAsync(201, FakeAnswers.Vm(status: VmStatus.Crashed, ready: false, error: "The kernel panicked.")));

        var result = await TestCli.For(daemon).RunAsync("vms", "create", "web", "--plugin", "hello", "--wait");

        Assert.Equal(ExitCodes.Failed, result.ExitCode);
        Assert.Contains("VM 'web' is crashed: The kernel panicked.", result.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_daemons_own_timeout_is_a_timeout()
    {
        await using var daemon = await FakeDaemon.StartAsync((context, _) => context.ProblemAsync(504, ErrorCodes.Timeout, "VM 'web' is not ready after 5 s."));

        var result = await TestCli.For(daemon).RunAsync("vms", "create", "web", "--plugin", "hello", "--wait", "--timeout", "5");

        Assert.Equal(ExitCodes.TimedOut, result.ExitCode);
        Assert.StartsWith("Error: VM 'web' is not ready after 5 s.\nHint: volantd goes on", result.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_daemon_that_waits_longer_than_it_was_asked_to_is_given_up_on()
    {
        await using var daemon = await FakeDaemon.StartAsync((context, _) => Task.Delay(Timeout.InfiniteTimeSpan, TimeProvider.System, context.RequestAborted));

        // A clock that lets 35 s pass at once: the 5 s of the wait and 30 s more.
        var result = await TestCli.For(daemon, new JumpingClock(TimeSpan.FromSeconds(35))).RunAsync("vms", "create", "web", "--plugin", "hello", "--wait", "--timeout", "5");

        Assert.Equal(ExitCodes.TimedOut, result.ExitCode);
        Assert.Contains("within 35 s.\nHint: volantd goes on", result.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Ctrl_c_ends_the_wait_and_says_how_to_see_the_vm()
    {
        using var interrupt = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        await using var daemon = await FakeDaemon.StartAsync(async (context, _) =>
        {
            await interrupt.CancelAsync();
            await Task.Delay(Timeout.InfiniteTimeSpan, TimeProvider.System, context.RequestAborted);
        });

        var result = await TestCli.For(daemon).InterruptibleAsync(interrupt.Token, "vms", "create", "web", "--plugin", "hello", "--wait");

        Assert.Equal(ExitCodes.Interrupted, result.ExitCode);
        Assert.Empty(result.Output);
        Assert.Contains("volantd goes on with VM 'web'", result.Error, StringComparison.Ordinal);
        Assert.Contains("volar vms get web", result.Error, StringComparison.Ordinal);
    }

    private string Write(string name, string text)
    {
        var path = Path.Combine(_directory.FullName, name);
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        File.WriteAllText(path, text);
        return path;
    }
}
