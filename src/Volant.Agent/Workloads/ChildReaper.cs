using System.ComponentModel;
using Volant.Linux.Kernel;
using Volant.Linux.Processes;

namespace Volant.Agent.Workloads;

/// <summary>Starts children and collects every process that ends, orphans of others included when this process is PID 1.</summary>
/// <remarks>
/// One thread waits for all (<c>waitid(P_ALL)</c>). The framework's process class must not be used beside it: as PID 1 it reaps everything
/// too and would take the exit codes. When this process is not PID 1, each child has its own waiting thread and foreign children are left
/// alone. A child is looked at before it is reaped, and signalled under the same lock, so that no signal ever reaches a stranger.
/// </remarks>
internal sealed class ChildReaper
{
    private const int StackSize = 128 * 1024;

    private readonly bool _reapsAll;
    private readonly Action<int>? _place;
    private readonly object _gate = new();
    private readonly Dictionary<int, TaskCompletionSource<ProcessExit>> _children = [];
    private long _spawned;

    /// <summary>Starts to collect.</summary>
    /// <param name="reapsAll">Whether every child of this process is collected, known or not: for PID 1 only.</param>
    /// <param name="place">Is given each new child before it can be reaped, to put it where it belongs.</param>
    public ChildReaper(bool reapsAll, Action<int>? place = null)
    {
        _reapsAll = reapsAll;
        _place = place;
        if (reapsAll)
        {
            new Thread(CollectAll, StackSize) { IsBackground = true, Name = "reaper" }.Start();
        }
    }

    /// <summary>Starts a process, leader of its own session and process group.</summary>
    /// <exception cref="Win32Exception">It could not be started.</exception>
    public Child Spawn(SpawnRequest request)
    {
        var exit = new TaskCompletionSource<ProcessExit>(TaskCreationOptions.RunContinuationsAsynchronously);
        int pid;
        lock (_gate)
        {
            pid = ProcessSpawner.Spawn(request);
            _children.Add(pid, exit);
            _spawned++;
            Monitor.Pulse(_gate);
            _place?.Invoke(pid);
        }

        if (!_reapsAll)
        {
            new Thread(() => CollectOne(pid), StackSize) { IsBackground = true, Name = "reaper" }.Start();
        }

        return new Child(this, pid, exit);
    }

    /// <summary>Signals the process group of a child; false when the child has ended.</summary>
    internal bool SignalGroup(int pid, int signal)
    {
        lock (_gate)
        {
            return _children.ContainsKey(pid) && Signals.SendToGroup(pid, signal);
        }
    }

    private void CollectAll()
    {
        while (true)
        {
            var before = Interlocked.Read(ref _spawned);
            if (ProcessWait.PeekAny() is { } pid)
            {
                Collect(pid);
                continue;
            }

            // No children: the next one can only come from here, or from one that comes from here.
            lock (_gate)
            {
                while (_spawned == before)
                {
                    Monitor.Wait(_gate);
                }
            }
        }
    }

    private void CollectOne(int pid)
    {
        ProcessWait.Peek(pid);
        Collect(pid);
    }

    private void Collect(int pid)
    {
        lock (_gate)
        {
            if (_children.Remove(pid, out var child))
            {
                // What is left of its group would hold its port and its pipes. The id is safe: the zombie still has it.
                Signals.SendToGroup(pid, Signals.Kill);
            }

            var exit = ProcessWait.TryReap(pid, out _) ?? new ProcessExit(pid, null, null);
            child?.SetResult(exit);
        }
    }
}

/// <summary>A process that this agent started.</summary>
/// <param name="reaper">Who collects it.</param>
/// <param name="pid">Its id.</param>
/// <param name="exit">Completes when it has ended.</param>
internal sealed class Child(ChildReaper reaper, int pid, TaskCompletionSource<ProcessExit> exit)
{
    /// <summary>Its id.</summary>
    public int Pid => pid;

    /// <summary>Completes when it has ended.</summary>
    public Task<ProcessExit> WaitForExitAsync() => exit.Task;

    /// <summary>Signals it and its process group; false when it has ended.</summary>
    public bool Signal(int signal) => reaper.SignalGroup(pid, signal);
}
