using Volant.Daemon.Store;

namespace Volant.Daemon.Orchestration.Deployments;

/// <summary>A replica as it is observed.</summary>
/// <param name="Index">The number in its name, from 1.</param>
/// <param name="Revision">Revision of the configuration that it was made from.</param>
/// <param name="Ready">Whether it serves.</param>
/// <param name="Broken">It does not run and nobody will start it, or it has not been ready for too long.</param>
internal sealed record Replica(int Index, int Revision, bool Ready, bool Broken);

/// <summary>What is wanted of the replicas.</summary>
/// <param name="Desired">How many.</param>
/// <param name="Revision">Of which revision.</param>
/// <param name="RollingOut">Whether an earlier revision was healthy and this one has not been yet.</param>
/// <param name="MaxSurge">Replicas that may exist beyond the desired number.</param>
/// <param name="MaxUnavailable">Replicas that may be missing during a roll-out.</param>
internal sealed record RolloutGoal(int Desired, int Revision, bool RollingOut, int MaxSurge, int MaxUnavailable)
{
    /// <summary>The goal of a deployment.</summary>
    public static RolloutGoal Of(DeploymentRecord record) => new(
        record.Deployment.DesiredReplicas,
        record.Deployment.Revision,
        record.GoodRevision is { } good && good != record.Deployment.Revision,
        record.Deployment.Strategy.MaxSurge ?? 1,
        record.Deployment.Strategy.MaxUnavailable ?? 0);
}

/// <summary>The next steps from what is observed to what is wanted; repeated until there are none. Pure.</summary>
/// <param name="Delete">Indexes whose replica goes, in this order.</param>
/// <param name="Create">Indexes that get a replica of the goal's revision.</param>
/// <remarks>
/// During a roll-out at least <c>desired - max_unavailable</c> replicas stay ready, as far as they were, and at most
/// <c>desired + max_surge</c> exist. Additional ones have the indexes above the desired number and go last.
/// </remarks>
internal sealed record RolloutPlan(IReadOnlyList<int> Delete, IReadOnlyList<int> Create)
{
    /// <summary>Nothing is left to do.</summary>
    public bool IsDone => Delete.Count == 0 && Create.Count == 0;

    /// <summary>Plans the next steps.</summary>
    public static RolloutPlan Make(RolloutGoal goal, IReadOnlyCollection<Replica> replicas)
    {
        // What is broken or too much goes first: a smaller number takes effect at once.
        var delete = replicas.Where(replica => replica.Broken).Select(replica => replica.Index).OrderDescending().ToList();
        var live = replicas.Where(replica => !replica.Broken).ToDictionary(replica => replica.Index);
        foreach (var replica in live.Values.Where(replica => replica.Index > goal.Desired && (replica.Revision != goal.Revision || replica.Index > goal.Desired + goal.MaxSurge || !goal.RollingOut))
            .OrderByDescending(replica => replica.Index).ToList())
        {
            Remove(replica.Index);
        }

        var ready = live.Values.Count(replica => replica.Ready);
        var least = Math.Max(0, goal.Desired - goal.MaxUnavailable);
        var outdated = live.Values.Where(replica => replica.Index <= goal.Desired && replica.Revision != goal.Revision).ToList();

        // What does not serve goes at once; of what serves, as many as may be missing.
        foreach (var replica in outdated.OrderBy(replica => replica.Ready).ThenByDescending(replica => replica.Index))
        {
            if (!replica.Ready || ready > least)
            {
                ready -= replica.Ready ? 1 : 0;
                Remove(replica.Index);
            }
        }

        // A roll-out keeps its additional replicas until enough others serve.
        if (outdated.Count == 0 && live.Values.Count(replica => replica.Index <= goal.Desired && replica.Ready) >= least)
        {
            foreach (var index in live.Keys.Where(index => index > goal.Desired).OrderDescending().ToList())
            {
                Remove(index);
            }
        }

        var waiting = outdated.Count(replica => live.ContainsKey(replica.Index));
        var room = goal.Desired + (goal.RollingOut ? goal.MaxSurge : 0) - live.Count;
        var missing = Enumerable.Range(1, goal.Desired).Concat(Enumerable.Range(goal.Desired + 1, Math.Min(waiting, goal.RollingOut ? goal.MaxSurge : 0)))
            .Where(index => !live.ContainsKey(index) && !delete.Contains(index));
        return new RolloutPlan(delete, [.. missing.Take(Math.Max(0, room))]);

        void Remove(int index)
        {
            live.Remove(index);
            delete.Add(index);
        }
    }
}
