using Volant.Contracts;
using Volant.Contracts.Api;

namespace Volant.EndToEnd.Component;

/// <summary>Many operations of one VM at once (C02).</summary>
public sealed class OperationRaceTests
{
    private static readonly string[] Operations = ["start", "stop", "stop?grace_seconds=0", "restart", "restart?grace_seconds=0", "delete"];

    [Fact]
    public async Task Fifty_operations_at_once_never_run_two_hypervisors_and_the_last_accepted_one_decides()
    {
        await using var daemon = await StandIn.StartAsync();
        var random = new Random(2);
        var (most, samples, rounds) = (0, 0, StandIn.Extent(6, 200));
        for (var round = 0; round < rounds; round++)
        {
            (await daemon.CreateAsync("web")).Expect(201);

            // A delete ends the others: every second round has one, at a random place.
            var operations = Enumerable.Range(0, 50).Select(_ => Operations[random.Next(Operations.Length - 1)]).ToArray();
            if (round % 2 == 1)
            {
                operations[random.Next(operations.Length)] = "delete";
            }

            var watch = new HypervisorWatch(daemon);
            var answers = await Task.WhenAll(operations.Select(operation => operation == "delete"
                ? daemon.CallAsync(HttpMethod.Delete, "/api/v1/vms/web")
                : daemon.CallAsync(HttpMethod.Post, $"/api/v1/vms/web/{operation}")));
            await watch.DisposeAsync();
            (most, samples) = (Math.Max(most, watch.Most), samples + watch.Samples);
            Assert.Equal(1, most);
            Assert.All(answers, answer => Assert.True(answer.Status is 200 or 204 || (answer.Status is 404 or 409 && round % 2 == 1), $"{answer.Status} {answer.Body}"));
            var now = await daemon.FindAsync("web");
            if (round % 2 == 1)
            {
                Assert.Null(now);
                Assert.Empty(daemon.Hypervisors());
                continue;
            }

            var last = answers.Select(answer => answer.As(200, ContractsJson.Default.Vm)).MaxBy(vm => vm.UpdatedAt)!;
            Assert.Equal((last.Status, last.Pid), (now!.Status, now.Pid));
            Assert.Equal(now.Pid is { } pid ? [pid] : [], daemon.Hypervisors());
            Assert.Equal(now.Status == VmStatus.Running, now.Pid is not null);
            (await daemon.CallAsync(HttpMethod.Delete, "/api/v1/vms/web")).Expect(204);
        }

        Assert.True(samples > rounds, "the processes were hardly looked at");
        StandIn.Report($"{rounds} rounds of 50 operations, {samples} samples, never more than {most} hypervisor");
    }
}
