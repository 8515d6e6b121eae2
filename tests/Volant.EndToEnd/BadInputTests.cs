using System.Net;
using System.Net.Sockets;
using Volant.Contracts.Api;

namespace Volant.EndToEnd;

/// <summary>Each fault gets a clear answer that names the thing and the remedy, and leaves nothing behind.</summary>
public sealed class BadInputTests(Workspace workspace) : IAsyncLifetime
{
    private readonly TestDaemon _daemon = new();

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        await _daemon.StartAsync();
        await _daemon.InstallAsync(workspace.ProbeManifest);
    }

    [Theory]
    [InlineData("""{"name": "web", "plugin": "nope"}""", 404, ErrorCodes.PluginNotFound, "nope")]
    [InlineData("""{"name": "Bad Name", "plugin": "probe"}""", 400, ErrorCodes.InvalidRequest, "name")]
    [InlineData("""{"name": "../../etc", "plugin": "probe"}""", 400, ErrorCodes.InvalidRequest, "name")]
    [InlineData("""{"plugin": "probe"}""", 400, ErrorCodes.InvalidRequest, "name")]
    [InlineData("""{"name": "web"}""", 400, ErrorCodes.InvalidRequest, "plugin")]
    [InlineData("""{"name": "web", "plugin": "probe", "colour": "red"}""", 400, ErrorCodes.InvalidRequest, "colour")]
    [InlineData("""{"name": "web", "plugin": "probe", "cpu_cores": 0}""", 400, ErrorCodes.InvalidRequest, "cpu_cores")]
    [InlineData("""{"name": "web", "plugin": "probe", "cpu_cores": "2"}""", 400, ErrorCodes.InvalidRequest, "cpu_cores")]
    [InlineData("""{"name": "web", "plugin": "probe", "memory_mb": 16}""", 422, ErrorCodes.Unsupported, "128 MiB")]
    [InlineData("""{"name": "web", "plugin": "probe", "memory_mb": 4000000}""", 503, ErrorCodes.InsufficientCapacity, "memory")]
    [InlineData("""{"name": "web", "plugin": "probe", "kernel_cmdline": "a\nb"}""", 400, ErrorCodes.InvalidRequest, "kernel_cmdline")]
    [InlineData("""{"name": "web", "plugin": "probe", "config": {"initramfs": {"url": "/etc/shadow"}}}""", 422, ErrorCodes.PathNotAllowed, "/etc/shadow")]
    [InlineData("""{"name": "web", "plugin": "probe", "config": {"network": {"mode": "token-ring"}}}""", 400, ErrorCodes.InvalidRequest, "network.mode")]
    [InlineData("""{"name": "web", """, 400, ErrorCodes.InvalidRequest, "JSON")]
    public async Task A_create_that_cannot_be_is_refused(string json, int status, string code, string named)
    {
        using var response = await _daemon.PostAsync("/api/v1/vms", json);

        var problem = await _daemon.ProblemAsync(response, status);
        Assert.Equal(code, problem.Code);
        Assert.Equal(problem.Detail, problem.Error);
        Assert.Contains(named, problem.Detail, StringComparison.Ordinal);
        AssertNothingIsLeft();
    }

    [Fact]
    public async Task A_taken_name_is_a_conflict()
    {
        await _daemon.CreateReadyAsync("web");
        using var response = await _daemon.PostAsync("/api/v1/vms", """{"name": "web", "plugin": "probe"}""");

        Assert.Equal(ErrorCodes.VmExists, (await _daemon.ProblemAsync(response, 409)).Code);
        Assert.Single(_daemon.Hypervisors());
    }

    [Fact]
    public async Task A_missing_corrupt_or_wrong_initramfs_is_named()
    {
        Directory.CreateDirectory(_daemon.ImageDirectory);
        var corrupt = Path.Combine(_daemon.ImageDirectory, "corrupt.cpio");
        await File.WriteAllTextAsync(corrupt, "<html>not an initramfs</html>", Cancel);
        var link = Path.Combine(_daemon.ImageDirectory, "link.cpio");
        File.CreateSymbolicLink(link, "/etc/passwd");

        await RefusedAsync(Path.Combine(_daemon.ImageDirectory, "missing.cpio"), null, 404, ErrorCodes.ArtifactNotFound, "missing.cpio");
        await RefusedAsync(corrupt, null, 422, ErrorCodes.InvalidMedia, "initramfs");
        await RefusedAsync(corrupt, new string('0', 64), 422, ErrorCodes.ChecksumMismatch, "SHA-256");
        await RefusedAsync(link, null, 422, ErrorCodes.PathNotAllowed, "link.cpio");
        await RefusedAsync($"volant://sha256/{new string('0', 64)}", null, 404, ErrorCodes.ArtifactNotFound, "volar plugins install");
        AssertNothingIsLeft();
    }

    [Fact]
    public async Task A_host_without_kernel_or_hypervisor_says_so()
    {
        await using var noKernel = new TestDaemon(new Dictionary<string, string>(StringComparer.Ordinal) { ["VOLANT_KERNEL_BZIMAGE"] = "/nonexistent/bz", ["VOLANT_KERNEL_VMLINUX"] = "/nonexistent/vm" });
        await using var noHypervisor = new TestDaemon(new Dictionary<string, string>(StringComparer.Ordinal) { ["VOLANT_HYPERVISOR"] = "/nonexistent/qemu-system-x86_64" });
        foreach (var (daemon, named) in new[] { (noKernel, "/nonexistent/bz"), (noHypervisor, "/nonexistent/qemu-system-x86_64") })
        {
            await daemon.StartAsync();
            await daemon.InstallAsync(workspace.ProbeManifest);
            using var response = await daemon.PostAsync("/api/v1/vms", """{"name": "web", "plugin": "probe"}""");

            var problem = await daemon.ProblemAsync(response, 503);
            Assert.Equal(ErrorCodes.HypervisorUnavailable, problem.Code);
            Assert.Contains(named, problem.Detail, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task A_daemon_that_cannot_start_says_why_in_one_line()
    {
        using var taken = new TcpListener(IPAddress.Loopback, 0);
        taken.Start();
        var garbage = Path.Combine(_daemon.Directory, "garbage.db");
        await File.WriteAllBytesAsync(garbage, [.. Enumerable.Range(0, 8192).Select(i => (byte)(i * 7))], Cancel);

        await FailsAsync(78, "VOLANT_DB_PATH", ("VOLANT_DB_PATH", garbage));
        await FailsAsync(78, "another volantd", ("VOLANT_API_LISTEN", "127.0.0.1:0"));
        await FailsAsync(78, "VOLANT_SUBNET", ("VOLANT_SUBNET", "nonsense"));
        await FailsAsync(1, taken.LocalEndpoint.ToString()!, ("VOLANT_API_LISTEN", taken.LocalEndpoint.ToString()!), ("VOLANT_DB_PATH", Path.Combine(_daemon.Directory, "other", "state.db")));
    }

    [Fact]
    public async Task The_check_flag_only_checks()
    {
        var good = await Command.RunAsync([Workspace.Program("volantd"), "--check"], environment: _daemon.Variables);
        var bad = await Command.RunAsync([Workspace.Program("volantd"), "--check"], environment: new Dictionary<string, string>(StringComparer.Ordinal) { ["VOLANT_HOST_IP"] = "1.2.3.4" });

        Assert.True(good.ExitCode == 0, good.ToString());
        Assert.True(bad.ExitCode == 78, bad.ToString());
        Assert.Contains("VOLANT_HOST_IP", bad.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_manifest_that_breaks_rules_lists_every_field_and_is_not_installed()
    {
        using var response = await _daemon.PostAsync("/api/v1/plugins", """{"schema_version": "9", "name": "bad", "version": "1", "resources": {"cpu_cores": 0, "memory_mb": 1}}""");

        var problem = await _daemon.ProblemAsync(response, 400);
        Assert.Equal(ErrorCodes.InvalidManifest, problem.Code);
        Assert.Contains("schema_version", problem.Errors!.Keys, StringComparer.Ordinal);
        Assert.Contains("resources.cpu_cores", problem.Errors.Keys, StringComparer.Ordinal);
        using var absent = await _daemon.Client.GetAsync("/api/v1/plugins/bad", Cancel);
        Assert.Equal(HttpStatusCode.NotFound, absent.StatusCode);
    }

    [Fact]
    public async Task Oversized_wrong_type_and_foreign_requests_are_refused()
    {
        using var body = new HttpRequestMessage(HttpMethod.Post, "/api/v1/vms") { Content = new StringContent(new string('x', 2 << 20), System.Text.Encoding.UTF8, "application/json") };
        body.Headers.ExpectContinue = true;
        using var large = await _daemon.Client.SendAsync(body, Cancel);
        Assert.Equal(ErrorCodes.TooLarge, (await _daemon.ProblemAsync(large, 413)).Code);
        using var form = await _daemon.Client.PostAsync("/api/v1/vms", new FormUrlEncodedContent([]), Cancel);
        Assert.Equal(ErrorCodes.UnsupportedMediaType, (await _daemon.ProblemAsync(form, 415)).Code);
        using var upload = await _daemon.Client.PutAsync($"/api/v1/artifacts/{new string('0', 64)}", new StringContent("other bytes"), Cancel);
        Assert.Equal(ErrorCodes.ChecksumMismatch, (await _daemon.ProblemAsync(upload, 422)).Code);
        using var nowhere = await _daemon.Client.GetAsync("/api/v1/nothing", Cancel);
        Assert.Equal(ErrorCodes.NotFound, (await _daemon.ProblemAsync(nowhere, 404)).Code);
        using var origin = new HttpRequestMessage(HttpMethod.Get, "/api/v1/vms");
        origin.Headers.Add("Origin", "https://evil.example");
        using var foreign = await _daemon.Client.SendAsync(origin, Cancel);
        Assert.Equal(ErrorCodes.Forbidden, (await _daemon.ProblemAsync(foreign, 403)).Code);
        Assert.Empty(Directory.GetFiles(Path.Combine(_daemon.Directory, "cache", "sha256"), "*.partial"));
    }

    public ValueTask DisposeAsync() => _daemon.DisposeAsync();

    private async Task RefusedAsync(string url, string? checksum, int status, string code, string named)
    {
        var sum = checksum is null ? string.Empty : $", \"checksum\": \"{checksum}\"";
        var media = $$"""{"url": "{{url}}"{{sum}} }""";
        using var response = await _daemon.PostAsync("/api/v1/vms", $$"""{"name": "web", "plugin": "probe", "config": {"initramfs": {{media}} } }""");
        var problem = await _daemon.ProblemAsync(response, status);
        Assert.Equal(code, problem.Code);
        Assert.Contains(named, problem.Detail, StringComparison.Ordinal);
    }

    private async Task FailsAsync(int exitCode, string named, params (string Name, string Value)[] variables)
    {
        var environment = new Dictionary<string, string>(_daemon.Variables, StringComparer.Ordinal);
        foreach (var (name, value) in variables)
        {
            environment[name] = value;
        }

        var result = await Command.RunAsync([Workspace.Program("volantd")], TimeSpan.FromSeconds(10), environment);
        Assert.True(result.ExitCode == exitCode, result.ToString());
        Assert.Contains(named, result.Error, StringComparison.Ordinal);
        Assert.Single(result.Error.Trim().Split('\n'));
    }

    private void AssertNothingIsLeft()
    {
        Assert.Empty(_daemon.Hypervisors());
        Assert.True(!Directory.Exists(_daemon.RuntimeDirectory) || Directory.GetFileSystemEntries(_daemon.RuntimeDirectory).Length == 0);
    }
}
