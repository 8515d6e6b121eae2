using Volant.Linux.Kernel;

namespace Volant.EndToEnd.Component;

/// <summary>A plugin that is disabled, replaced or removed while VMs of it are created (C18).</summary>
public sealed class PluginRaceTests
{
    [Fact]
    public async Task From_the_answer_on_no_create_begins_not_even_after_a_kill_and_what_runs_runs_on()
    {
        await using var daemon = await StandIn.StartAsync();
        for (var round = 0; round < StandIn.Extent(2, 50); round++)
        {
            (await daemon.CallAsync(HttpMethod.Post, "/api/v1/plugins", StandIn.Manifest(daemon, "other"))).Expect(201);
            await ChangeAsync(daemon, $"d{round}", 409, "plugin_disabled", () => daemon.CallAsync(HttpMethod.Post, "/api/v1/plugins/other/enabled", """{"enabled": false}"""));
            var running = daemon.Hypervisors().Order().ToList();
            Assert.NotEmpty(running);
            await daemon.EndAsync(Signals.Kill);
            await daemon.StartAsync();
            await RefusedAsync(daemon, 409, "plugin_disabled");
            Assert.Equal(running, daemon.Hypervisors().Order());
            (await daemon.CallAsync(HttpMethod.Post, "/api/v1/plugins/other/enabled", """{"enabled": true}""")).Expect(200);

            // Replaced: a create is of the old manifest or of the new one, and from the answer on of the new one.
            var created = await ChangeAsync(daemon, $"r{round}", 201, "", () => daemon.CallAsync(HttpMethod.Post, "/api/v1/plugins", StandIn.Manifest(daemon, "other", "2").Replace("\"memory_mb\": 128", "\"memory_mb\": 256", StringComparison.Ordinal)));
            Assert.Equal(256, (await daemon.FindAsync(created))!.MemoryMb);
            Assert.All(await daemon.VmsAsync(), vm => Assert.True(vm.MemoryMb is 128 or 256));
            (await daemon.CallAsync(HttpMethod.Delete, "/api/v1/plugins/other")).Expect(409);
            foreach (var vm in await daemon.VmsAsync())
            {
                (await daemon.CallAsync(HttpMethod.Delete, $"/api/v1/vms/{vm.Name}")).Expect(204);
            }

            // Removed: in a moment in which no VM uses it.
            await ChangeAsync(daemon, $"x{round}", 404, "plugin_not_found", () => RemoveAsync(daemon), keep: false);
            await daemon.EndAsync(Signals.Kill);
            await daemon.StartAsync();
            await RefusedAsync(daemon, 404, "plugin_not_found");
        }
    }

    /// <summary>Makes a change while creates run; whatever is asked for after its answer must be answered so.</summary>
    /// <returns>Name of a VM that was created after the change, if one could be.</returns>
    private static async Task<string> ChangeAsync(TestDaemon daemon, string prefix, int status, string code, Func<Task<Answer>> change, bool keep = true)
    {
        var changedAt = long.MaxValue;
        var late = string.Empty;
        var creating = Task.WhenAll(Enumerable.Range(0, keep ? 4 : 1).Select(async worker =>
        {
            for (var i = 0; ; i++)
            {
                var (name, begun) = ($"{prefix}-{worker}-{i}", TimeProvider.System.GetTimestamp());
                var answer = await CreateAsync(daemon, name);
                Assert.True(answer.Status is 201 or 404 or 409, answer.Body);
                if (begun > Volatile.Read(ref changedAt))
                {
                    answer.Expect(status);
                    Assert.Contains(code, answer.Body, StringComparison.Ordinal);
                    late = name;
                    return;
                }

                if (!keep && answer.IsSuccess)
                {
                    (await daemon.CallAsync(HttpMethod.Delete, $"/api/v1/vms/{name}")).Expect(204);
                }
            }
        }));
        await daemon.UntilAsync(async () => (await daemon.VmsAsync()).Count > 0, "a VM is created");
        var answer = await change();
        Assert.True(answer.IsSuccess, answer.Body);
        Volatile.Write(ref changedAt, TimeProvider.System.GetTimestamp());
        await creating;
        return late;
    }

    private static async Task<Answer> RemoveAsync(TestDaemon daemon)
    {
        while (true)
        {
            var answer = await daemon.CallAsync(HttpMethod.Delete, "/api/v1/plugins/other");
            if (answer.IsSuccess)
            {
                return answer;
            }

            Assert.Contains("plugin_in_use", answer.Expect(409).Body, StringComparison.Ordinal);
        }
    }

    private static async Task RefusedAsync(TestDaemon daemon, int status, string code) =>
        Assert.Contains(code, (await CreateAsync(daemon, "refused")).Expect(status).Body, StringComparison.Ordinal);

    private static Task<Answer> CreateAsync(TestDaemon daemon, string name) => daemon.CallAsync(HttpMethod.Post, "/api/v1/vms", $$"""{"name": "{{name}}", "plugin": "other"}""");
}
