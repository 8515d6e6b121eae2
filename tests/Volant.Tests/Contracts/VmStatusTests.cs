using System.Text.Json;
using Volant.Contracts;
using Volant.Contracts.Api;

namespace Volant.Tests.Contracts;

public sealed class VmStatusTests
{
    private static readonly HashSet<(VmStatus From, VmStatus To)> Legal =
    [
        (VmStatus.Pending, VmStatus.Starting), (VmStatus.Pending, VmStatus.Stopped), (VmStatus.Pending, VmStatus.Crashed),
        (VmStatus.Starting, VmStatus.Running), (VmStatus.Starting, VmStatus.Stopping), (VmStatus.Starting, VmStatus.Crashed),
        (VmStatus.Running, VmStatus.Stopping), (VmStatus.Running, VmStatus.Stopped), (VmStatus.Running, VmStatus.Crashed),
        (VmStatus.Stopping, VmStatus.Stopped), (VmStatus.Stopping, VmStatus.Crashed),
        (VmStatus.Stopped, VmStatus.Starting),
        (VmStatus.Crashed, VmStatus.Starting), (VmStatus.Crashed, VmStatus.Stopped),
    ];

    public static MatrixTheoryData<VmStatus, VmStatus> EveryPair => new(Enum.GetValues<VmStatus>(), Enum.GetValues<VmStatus>());

    public static TheoryData<VmStatus> EveryStatus => [.. Enum.GetValues<VmStatus>()];

    [Theory]
    [MemberData(nameof(EveryPair))]
    public void CanBecome_agrees_with_the_documented_table_for_every_pair(VmStatus from, VmStatus to) =>
        Assert.Equal(Legal.Contains((from, to)), from.CanBecome(to));

    [Theory]
    [MemberData(nameof(EveryStatus))]
    public void ToText_is_what_json_writes_and_FindStatus_reads_it_back(VmStatus status)
    {
        var json = JsonSerializer.Serialize(new VmEvent { Type = VmEventTypes.Created, Name = "a", Status = status, Timestamp = DateTimeOffset.UnixEpoch }, ContractsJson.Default.VmEvent);

        Assert.Contains($"\"status\":\"{status.ToText()}\"", json, StringComparison.Ordinal);
        Assert.Equal(status, VmStatusRules.FindStatus(status.ToText()));
    }

    [Theory]
    [MemberData(nameof(EveryStatus))]
    public void Every_status_can_come_to_rest(VmStatus status)
    {
        var seen = new HashSet<VmStatus> { status };
        var open = new Queue<VmStatus>([status]);
        while (open.TryDequeue(out var from))
        {
            foreach (var to in Enum.GetValues<VmStatus>().Where(to => from.CanBecome(to) && seen.Add(to)))
            {
                open.Enqueue(to);
            }
        }

        Assert.Contains(VmStatus.Stopped, seen);
    }
}
