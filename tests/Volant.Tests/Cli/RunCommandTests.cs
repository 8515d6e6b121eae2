using System.Text.Json;
using Volant.Cli;
using Volant.Contracts.Manifests;

namespace Volant.Tests.Cli;

/// <summary><c>volar run</c> with a fledge that is a script: it notes how it was called, and answers what the test says.</summary>
public sealed class RunCommandTests : IDisposable
{
    private const string Digest = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    private readonly DirectoryInfo _directory = Directory.CreateTempSubdirectory("volar");

    public void Dispose() => _directory.Delete(recursive: true);

    [Fact]
    public async Task An_image_is_built_once_installed_and_started_with_its_ports()
    {
        WriteFledge();
        await using var daemon = await StartAsync();

        var first = await RunAsync(daemon, "run", "team/web:1.2", "--name", "web", "-p", "8080:80", "-p", "53/udp", "--cpu", "2", "--network", "vsock", "--volume", "data:vdb", "--restart", "always");
        var second = await RunAsync(daemon, "run", "team/web:1.2", "--name", "web2");

        Assert.True(first.ExitCode == 0, first.Error);
        Assert.Equal(0, second.ExitCode);
        Assert.Equal(
            ["inspect docker://team/web:1.2 --json", $"build docker://team/web@sha256:{Digest} --output {_directory.FullName}/cache/volant/images/{Digest}/image --json", "inspect docker://team/web:1.2 --json"],
            Calls());
        Assert.Contains("Building a root disk from team/web:1.2 (sha256:0123456789ab).", first.Error, StringComparison.Ordinal);
        Assert.DoesNotContain("Building", second.Error, StringComparison.Ordinal);
        var installed = ManifestReader.Read(daemon.Seen.First(seen => seen.Line == "POST /api/v1/plugins").Body);
        Assert.Equal(("web-0123456789ab", "web-0123456789ab"), (installed.Name, installed.Runtime));
        Assert.StartsWith("volant://sha256/", installed.Rootfs!.Url, StringComparison.Ordinal);
        Same("""
            {"name": "web", "plugin": "web-0123456789ab", "cpu_cores": 2, "config": {
               "expose": [{"protocol": "tcp", "port": 80, "host_port": 8080}, {"protocol": "udp", "port": 53}], "network": {"mode": "vsock"}, "volumes": [{"name": "data", "target": "vdb"}], "restart": {"policy": "always"}}}
            """, daemon.Seen.First(seen => seen.Line == "POST /api/v1/vms").Text);
        Same("""{"name": "web2", "plugin": "web-0123456789ab"}""", daemon.Seen.Last(seen => seen.Line == "POST /api/v1/vms").Text);
    }

    [Theory]
    [InlineData("""["/entry", "one"]""", new[] { "/entry", "one", "a", "b" })]
    [InlineData("[]", new[] { "/bin/sh", "-c", "exec \"$@\"", "sh", "a", "b" })]
    public async Task Arguments_and_variables_belong_to_the_VM_alone(string entrypoint, string[] expected)
    {
        WriteFledge(entrypoint);
        await using var daemon = await StartAsync();

        var result = await RunAsync(daemon, "run", "web", "--name", "web", "-e", "MODE=fast", "-e", "EMPTY=", "--", "a", "b");

        Assert.True(result.ExitCode == 0, result.Error);
        var sent = JsonElement.Parse(daemon.Seen.Single(seen => seen.Line == "POST /api/v1/vms").Body).GetProperty("config").GetProperty("manifest").GetProperty("workload");
        Assert.Equal(expected, sent.GetProperty("entrypoint").EnumerateArray().Select(word => word.GetString()!));
        Assert.Equal(("old", "fast", string.Empty), (sent.GetProperty("env").GetProperty("KEPT").GetString(), sent.GetProperty("env").GetProperty("MODE").GetString(), sent.GetProperty("env").GetProperty("EMPTY").GetString()));
        Assert.Equal(["/entry", "one", "old"], ManifestReader.Read(daemon.Seen.Single(seen => seen.Line == "POST /api/v1/plugins").Body).Workload!.Entrypoint);
    }

    [Fact]
    public async Task Without_a_name_the_VM_is_named_after_the_image()
    {
        WriteFledge();
        await using var daemon = await StartAsync();

        await RunAsync(daemon, "run", "web");

        Assert.Matches("^web-[0-9a-f]{4}$", JsonElement.Parse(daemon.Seen.Single(seen => seen.Line == "POST /api/v1/vms").Body).GetProperty("name").GetString()!);
    }

    [Fact]
    public async Task What_fledge_says_is_the_failure_and_nothing_is_asked_of_the_daemon()
    {
        WriteScript("echo 'fledge: there is no such image' >&2; exit 1");
        await using var daemon = await StartAsync();

        var result = await RunAsync(daemon, "run", "web");

        Assert.Equal(ExitCodes.Failed, result.ExitCode);
        Assert.Contains("fledge: there is no such image", result.Error, StringComparison.Ordinal);
        Assert.Empty(daemon.Seen);
    }

    [Fact]
    public async Task An_interrupted_build_is_told_and_waited_for()
    {
        WriteScript($"trap 'echo cleaned > {_directory.FullName}/cleaned; exit 130' INT; echo started > {_directory.FullName}/started; while :; do sleep 0.05; done");
        await using var daemon = await StartAsync();
        using var interrupt = new CancellationTokenSource();
        using var watcher = new FileSystemWatcher(_directory.FullName, "started") { EnableRaisingEvents = true };
        watcher.Created += (_, _) => interrupt.Cancel();

        var result = await Cli(daemon).InterruptibleAsync(interrupt.Token, "run", "web");

        Assert.Equal(ExitCodes.Interrupted, result.ExitCode);
        Assert.True(File.Exists(Path.Combine(_directory.FullName, "cleaned")));
    }

    [Theory]
    [InlineData("run")]
    [InlineData("run", "web", "-p", "80:x")]
    [InlineData("run", "web", "-p", "0:80")]
    [InlineData("run", "web", "-p", "1:2:3")]
    [InlineData("run", "web", "-p", "80/sctp")]
    [InlineData("run", "web", "-e", "NOVALUE")]
    [InlineData("run", "web", "--name", "Not A Name")]
    [InlineData("run", "web", "--network", "cloud")]
    public async Task Wrong_usage_is_refused_before_anything_is_done(params string[] arguments)
    {
        WriteFledge();
        await using var daemon = await StartAsync();

        var result = await RunAsync(daemon, arguments);

        Assert.Equal(ExitCodes.Usage, result.ExitCode);
        Assert.Empty(daemon.Seen);
        Assert.Empty(Calls());
    }

    [Fact]
    public async Task Without_fledge_the_remedy_is_named()
    {
        await using var daemon = await StartAsync();

        var result = await RunAsync(daemon, "run", "web");

        Assert.Equal(ExitCodes.Failed, result.ExitCode);
        Assert.Contains("VOLANT_FLEDGE", result.Error, StringComparison.Ordinal);
    }

    private static Task<FakeDaemon> StartAsync() => FakeDaemon.StartAsync((context, seen) => (seen.Method, seen.Target) switch
    {
        ("HEAD", _) => context.JsonAsync(404, string.Empty),
        ("PUT", var target) => context.JsonAsync(201, $$"""{"sha256":"{{target.Split('/')[^1]}}","size_bytes":1,"url":"x"}"""),
        ("POST", "/api/v1/plugins") => context.JsonAsync(201, seen.Text),
        _ => context.JsonAsync(201, FakeAnswers.Vm()),
    });

    private static void Same(string expected, string actual) => Assert.True(JsonElement.DeepEquals(JsonElement.Parse(expected), JsonElement.Parse(actual)), actual);

    private TestCli Cli(FakeDaemon daemon)
    {
        var cli = new TestCli { WorkingDirectory = _directory.FullName, Environment = { ["VOLANT_API_BASE"] = daemon.Address } };
        cli.Environment["VOLANT_FLEDGE"] = Path.Combine(_directory.FullName, "fledge");
        cli.Environment["XDG_CACHE_HOME"] = Path.Combine(_directory.FullName, "cache");
        cli.Environment["PATH"] = "/usr/bin:/bin";
        return cli;
    }

    private Task<CliResult> RunAsync(FakeDaemon daemon, params string[] arguments) => Cli(daemon).RunAsync(arguments);

    private string[] Calls() => File.Exists(Path.Combine(_directory.FullName, "calls")) ? File.ReadAllLines(Path.Combine(_directory.FullName, "calls")) : [];

    private void WriteFledge(string entrypoint = """["/entry", "one"]""")
    {
        var json = $$"""{"file": "x", "kind": "image", "image": {"digest": "sha256:{{Digest}}", "entrypoint": {{entrypoint}}, "command": ["old"], "env": [], "exposed_ports": [], "layers": []} }""";
        File.WriteAllText(Path.Combine(_directory.FullName, "inspected"), json);
        File.WriteAllText(Path.Combine(_directory.FullName, "manifest"), $$"""
            {"schema_version": "1.0", "name": "web", "version": "1", "resources": {"cpu_cores": 1, "memory_mb": 512},
             "workload": {"type": "process", "entrypoint": ["/entry", "one", "old"], "env": {"KEPT": "old"} },
             "rootfs": {"url": "file://{{_directory.FullName}}/cache/volant/images/{{Digest}}/image.img", "format": "raw"} }
            """);
        WriteScript($"""
            echo "$@" >> {_directory.FullName}/calls
            case $1 in
            inspect) cat {_directory.FullName}/inspected ;;
            build) echo disk > "$4.img"; cp {_directory.FullName}/manifest "$4.manifest.json" ;;
            esac
            """);
    }

    private void WriteScript(string body) => TestProgram.Write(Path.Combine(_directory.FullName, "fledge"), $"#!/bin/sh\n{body}\n");
}
