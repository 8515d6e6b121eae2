using CsCheck;
using Volant.Daemon.Orchestration.Deployments;

namespace Volant.Tests.Orchestration.Deployments;

public sealed class RolloutPlanTests
{
    [Fact]
    public void Missing_replicas_are_made_and_the_highest_go_first()
    {
        Assert.Equal([1, 2, 3], RolloutPlan.Make(Goal(3), []).Create);
        Assert.Equal([5, 4, 3], RolloutPlan.Make(Goal(2), [.. Enumerable.Range(1, 5).Select(index => new Replica(index, 1, Ready: true, Broken: false))]).Delete);
    }

    [Fact]
    public void A_broken_replica_is_deleted_and_made_anew()
    {
        Replica[] replicas = [new(1, 1, true, false), new(2, 1, false, true)];

        Assert.Equal([2], RolloutPlan.Make(Goal(2), replicas).Delete);
        Assert.Equal([2], RolloutPlan.Make(Goal(2), replicas[..1]).Create);
    }

    [Fact]
    public void With_nothing_to_spare_one_more_is_made_before_one_goes()
    {
        Replica[] old = [.. Enumerable.Range(1, 3).Select(index => new Replica(index, 1, Ready: true, Broken: false))];
        var goal = new RolloutGoal(3, Revision: 2, RollingOut: true, MaxSurge: 1, MaxUnavailable: 0);

        var first = RolloutPlan.Make(goal, old);
        Assert.Equal((0, 4), (first.Delete.Count, Assert.Single(first.Create)));
        Assert.True(RolloutPlan.Make(goal, [.. old, new Replica(4, 2, Ready: false, Broken: false)]).IsDone);
        Assert.Equal([3], RolloutPlan.Make(goal, [.. old, new Replica(4, 2, Ready: true, Broken: false)]).Delete);
    }

    /// <summary>A small simulation: replicas become ready or break in any order.</summary>
    [Fact]
    public void Any_roll_out_and_any_scaling_converges_within_its_bounds() => Gen.Select(
        Gen.Int[0, 12], Gen.Int[0, 12], Gen.Int[0, 3], Gen.Int[0, 3], Gen.Int[0, int.MaxValue - 1], Gen.Bool).Sample((before, after, surge, unavailable, seed, rolling) =>
    {
        if (surge + unavailable == 0)
        {
            surge = 1;
        }

        var random = new Random(seed);
        var replicas = Enumerable.Range(1, before).ToDictionary(index => index, index => new Replica(index, 1, Ready: true, Broken: false));
        var goal = new RolloutGoal(after, rolling ? 2 : 1, rolling, surge, unavailable);
        for (var step = 0; step < 400; step++)
        {
            var ready = replicas.Values.Count(replica => replica.Ready);
            var plan = RolloutPlan.Make(goal, replicas.Values);
            var waiting = replicas.Values.Where(replica => !replica.Ready && !replica.Broken).ToList();
            if (plan.IsDone && waiting.Count == 0)
            {
                return replicas.Count == after && replicas.Keys.All(index => index <= after) && replicas.Values.All(replica => replica.Ready && replica.Revision == goal.Revision);
            }

            foreach (var index in plan.Delete)
            {
                replicas.Remove(index);
            }

            foreach (var index in plan.Create)
            {
                Assert.False(replicas.ContainsKey(index));
                replicas[index] = new Replica(index, goal.Revision, Ready: false, Broken: false);
            }

            Assert.True(plan.Create.Count == 0 || replicas.Count <= after + (rolling ? surge : 0), "too many exist");
            Assert.True(replicas.Values.Count(replica => replica.Ready) >= Math.Min(ready, Math.Max(0, after - unavailable)), "too few are ready");
            if (waiting.Count > 0)
            {
                var chosen = waiting[random.Next(waiting.Count)];
                if (replicas.ContainsKey(chosen.Index))
                {
                    replicas[chosen.Index] = random.Next(10) == 0 && step < 200 ? chosen with { Broken = true } : chosen with { Ready = true };
                }
            }
        }

        return false;
    }, iter: 5000);

    private static RolloutGoal Goal(int desired) => new(desired, Revision: 1, RollingOut: false, MaxSurge: 1, MaxUnavailable: 0);
}
