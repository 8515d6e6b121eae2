using System.Text.Json;
using Volant.Contracts;
using Volant.Contracts.Api;
using Volant.Linux.Processes;

namespace Volant.EndToEnd.Component;

/// <summary>Values that want to be options, and values beyond all measure (S18, S21).</summary>
public sealed class HostileInputTests : IAsyncLifetime
{
    private static readonly string[] Hostile =
    [
        "a,b", "a,path=/etc/shadow", "x,readonly=off,file=/etc/shadow", "a=b", "a b", "a\nb", "a\0b", "a\tb", "-monitor", "--daemonize", "-S", "a\" -S \"", "'; touch /tmp/x; '", "$(id)", "%s%n", "../../etc", "/", ".", "é", "a\u2028b", "a\u0007b",
    ];

    private TestDaemon _daemon = null!;

    public async ValueTask InitializeAsync() => _daemon = await StandIn.StartAsync();

    public ValueTask DisposeAsync() => _daemon.DisposeAsync();

    [Fact]
    public async Task No_string_of_a_request_becomes_an_option_of_the_hypervisor()
    {
        var plain = ArgumentsOf((await _daemon.CreateAsync("plain")).As(201, ContractsJson.Default.Vm));
        var (accepted, refused) = (0, 0);
        foreach (var value in Hostile)
        {
            var text = JsonSerializer.Serialize(value, ContractsJson.Default.String);
            foreach (var members in new[]
            {
                $"\"name\": {text}", $"\"runtime\": {text}", $"\"kernel_cmdline\": {text}", $"\"api_host\": {text}, \"api_port\": 1", $"\"plugin\": {text}",
                $$"""  "config": {"runtime": {{text}} } """, $$"""  "config": {"kernel_override": {{text}} } """, $$"""  "config": {"initramfs": {"url": {{text}} } } """, $$"""  "config": {"network": {"mode": "vsock", "gateway": {{text}} } } """,
                $$"""  "config": {"manifest": {{Manifest("name", text)}} } """, $$"""  "config": {"manifest": {{Manifest("runtime", text)}} } """, $$"""  "config": {"manifest": {{Manifest("version", text)}} } """,
                $$"""  "config": {"rootfs": {"url": {{text}} } } """, $$"""  "config": {"rootfs": {"url": "/x", "format": {{text}} } } """, $$"""  "config": {"volumes": [{"name": {{text}} }]} """, $$"""  "config": {"volumes": [{"name": "x", "target": {{text}} }]} """,
                $$"""  "config": {"manifest": {{Manifest("disks", $$"""[{"name": {{text}}, "source": "/x"}]""")}} } """, $$"""  "config": {"manifest": {{Manifest("disks", $$"""[{"name": "x", "source": {{text}} }]""")}} } """,
            })
            {
                var name = members.StartsWith("\"name\"", StringComparison.Ordinal) ? "" : "\"name\": \"web\", ";
                var plugin = members.StartsWith("\"plugin\"", StringComparison.Ordinal) ? "" : $", \"plugin\": \"{StandIn.Plugin}\"";
                var answer = await _daemon.CallAsync(HttpMethod.Post, "/api/v1/vms", $"{{{name}{members}{plugin}}}");
                if (answer.Status != 201)
                {
                    Assert.True(answer.Status is 400 or 404 or 422, $"{members}: {answer}");
                    Assert.False(string.IsNullOrEmpty(answer.As(answer.Status, ContractsJson.Default.Problem).Detail));
                    refused++;
                    continue;
                }

                // What is taken is one argument where it belongs: the options are those of any other VM.
                accepted++;
                var vm = answer.As(201, ContractsJson.Default.Vm);
                var arguments = ArgumentsOf(vm);
                Assert.True(plain.SequenceEqual(arguments), $"{members}: {string.Join(' ', arguments)}");
                (await _daemon.CallAsync(HttpMethod.Delete, $"/api/v1/vms/{vm.Name}")).Expect(204);
            }
        }

        StandIn.Report($"{accepted} values were taken as they are, {refused} refused");
        Assert.True(accepted > 0 && refused > 0);
        Assert.Equal(["plain"], (await _daemon.VmsAsync()).Select(vm => vm.Name));
    }

    [Theory]
    [InlineData("/api/v1/vms", """{"name": "web", "plugin": "stand-in", "cpu_cores": 0}""", "cpu_cores")]
    [InlineData("/api/v1/vms", """{"name": "web", "plugin": "stand-in", "cpu_cores": -1}""", "cpu_cores")]
    [InlineData("/api/v1/vms", """{"name": "web", "plugin": "stand-in", "cpu_cores": 1000000000}""", "cpu_cores")]
    [InlineData("/api/v1/vms", """{"name": "web", "plugin": "stand-in", "cpu_cores": 99999999999999999999}""", "cpu_cores")]
    [InlineData("/api/v1/vms", """{"name": "web", "plugin": "stand-in", "memory_mb": 1000000000}""", "memory_mb")]
    [InlineData("/api/v1/vms", """{"name": "web", "plugin": "stand-in", "memory_mb": -5}""", "memory_mb")]
    [InlineData("/api/v1/vms", """{"name": "web", "plugin": "stand-in", "config": {"resources": {"cpu_cores": 1e9, "memory_mb": 1}}}""", "cpu_cores")]
    [InlineData("/api/v1/vms", """{"name": "web", "plugin": "stand-in", "api_port": 65536}""", "api.port")]
    [InlineData("/api/v1/vms", """{"name": "web", "plugin": "stand-in", "config": {"restart": {"max_attempts": 1000000000}}}""", "max_attempts")]
    [InlineData("/api/v1/vms", """{"name": "web", "plugin": "stand-in", "config": {"expose": [{"port": 80, "host_port": 80}, {"port": 81, "host_port": 80}]}}""", "expose")]
    [InlineData("/api/v1/volumes", """{"name": "data", "size_mb": 1000000000}""", "size_mb")]
    [InlineData("/api/v1/volumes", """{"name": "data", "size_mb": 99999999999999999999}""", "size_mb")]
    [InlineData("/api/v1/vms?timeout=1000000000", """{"name": "web", "plugin": "stand-in"}""", "timeout")]
    [InlineData("/api/v1/deployments", """{"name": "web", "replicas": 10000000, "config": {"plugin": "stand-in"}}""", "replicas")]
    [InlineData("/api/v1/deployments", """{"name": "web", "replicas": 1, "config": {"plugin": "stand-in"}, "strategy": {"max_surge": 1000000000}}""", "max_surge")]
    public async Task An_absurd_number_is_refused_by_name_and_at_once(string path, string body, string field)
    {
        var answer = await _daemon.CallAsync(HttpMethod.Post, path, body);
        var problem = answer.As(answer.Status, ContractsJson.Default.Problem);

        Assert.True(answer.Status is 400 or 409 or 422, $"{answer}");
        Assert.Contains(field, problem.Detail!, StringComparison.Ordinal);
        AssertQuick(answer);
        Assert.Empty(await _daemon.VmsAsync());
    }

    [Fact]
    public async Task Absurdly_many_things_are_refused_by_name_and_at_once()
    {
        var labels = string.Join(", ", Enumerable.Range(0, 100_000).Select(i => $"\"k{i}\": \"v\""));
        var ports = string.Join(", ", Enumerable.Range(0, 10_000).Select(i => $$"""{"port": {{i % 65_000}}, "host_port": 80}"""));
        var words = string.Join(' ', Enumerable.Range(0, 2000).Select(i => $"w{i}"));
        var volumes = string.Join(", ", Enumerable.Range(0, 10_000).Select(i => $$"""{"name": "v{{i}}"}"""));
        (string Path, string Body, int[] Statuses, string Named)[] cases =
        [
            ("/api/v1/plugins", StandIn.Manifest(_daemon, "big").Replace("\"version\"", $"\"labels\": {{ {labels} }}, \"version\"", StringComparison.Ordinal), [413], ""),
            ("/api/v1/vms", $$"""{"name": "web", "plugin": "stand-in", "config": {"expose": [{{ports}}]} }""", [400, 422], "expose"),
            ("/api/v1/vms", $$"""{"name": "web", "plugin": "stand-in", "config": {"volumes": [{{volumes}}]} }""", [400], "volumes"),
            ("/api/v1/vms", $$"""{"name": "web", "plugin": "stand-in", "kernel_cmdline": "{{words}}"}""", [400], "kernel_cmdline"),
            ("/api/v1/vms", $$"""{"name": "{{new string('a', 10_000)}}", "plugin": "stand-in"}""", [400], "name"),
            ("/api/v1/vms", $$"""{"name": "web", "plugin": "{{new string('a', 10_000)}}"}""", [400, 404], "plugin"),
            ("/api/v1/vms", $$"""{"name": "web", "plugin": "stand-in", "runtime": "{{new string('a', 10_000)}}"}""", [400], "runtime"),
        ];
        foreach (var (path, body, statuses, named) in cases)
        {
            var answer = await _daemon.CallAsync(HttpMethod.Post, path, body);
            Assert.True(statuses.Contains(answer.Status), $"{path} {body[..Math.Min(body.Length, 100)]}: {answer.Status} {answer.Body[..Math.Min(answer.Body.Length, 400)]}");
            Assert.Contains(named, answer.As(answer.Status, ContractsJson.Default.Problem).Detail!, StringComparison.OrdinalIgnoreCase);
            Assert.True(answer.Body.Length < 100_000, $"the answer has {answer.Body.Length} characters");
            AssertQuick(answer);
        }

        Assert.Empty(await _daemon.VmsAsync());
    }

    /// <summary>50 ms are promised; the rest is for a machine with other things to do.</summary>
    private static void AssertQuick(Answer answer)
    {
        StandIn.Report($"{answer.Status} after {answer.Took.TotalMilliseconds:0.0} ms");
        Assert.True(answer.Took < TimeSpan.FromSeconds(2), $"{answer.Took}");
    }

    private string Manifest(string member, string json)
    {
        using var document = JsonDocument.Parse(StandIn.Manifest(_daemon, StandIn.Plugin));
        return "{" + string.Join(", ", document.RootElement.EnumerateObject().Where(each => each.Name != member).Select(each => $"\"{each.Name}\": {each.Value.GetRawText()}")) + $", \"{member}\": {json}}}";
    }

    /// <summary>The command line without what each VM has of its own: identity, directory and kernel line.</summary>
    private static IReadOnlyList<string> ArgumentsOf(Vm vm)
    {
        var arguments = ProcessIdentity.CommandLine(vm.Pid!.Value).ToList();
        var line = arguments.IndexOf("-append");
        Assert.True(line > 0 && arguments.LastIndexOf("-append") == line);
        Assert.Equal(vm.Uid.ToString("D"), arguments[arguments.IndexOf("-uuid") + 1]);
        arguments[line + 1] = "LINE";
        var uid = vm.Uid.ToString("D");
        return [.. arguments.Select(argument => argument.Replace(uid, "UID", StringComparison.Ordinal).Replace(uid[^8..], "UID", StringComparison.Ordinal))];
    }
}
