using System.ComponentModel;
using System.Diagnostics.CodeAnalysis;
using Volant.Linux;
using Volant.Linux.Kernel;
using Volant.Linux.Processes;

namespace Volant.Agent.Power;

/// <summary>The end of the guest: processes ended, disks written and unmounted, machine off or started again. For PID 1 only.</summary>
internal static class Shutdown
{
    /// <summary>How long other processes may take to end after SIGTERM.</summary>
    public static readonly TimeSpan Grace = TimeSpan.FromSeconds(2);

    /// <summary>How long killed processes may take to be gone: one that waits for a disk goes when the disk answers.</summary>
    public static readonly TimeSpan KillGrace = TimeSpan.FromSeconds(1);

    private static readonly TimeSpan Poll = TimeSpan.FromMilliseconds(10);
    private static readonly TimeSpan ConsoleTime = TimeSpan.FromSeconds(1);

    /// <summary>Ends every process, writes and unmounts the disks and ends the machine. Never returns.</summary>
    [DoesNotReturn]
    public static async Task OrderlyAsync(PowerAction action, ConsoleLog console, TimeProvider clock)
    {
        if (Try(() => Signals.SendToAll(Signals.Terminate)))
        {
            await UntilAloneAsync(Grace, clock);
            Try(() => Signals.SendToAll(Signals.Kill));
            await UntilAloneAsync(KillGrace, clock);
        }

        FileSystems.Sync();
        foreach (var problem in ReleaseDisks())
        {
            console.Say(problem);
        }

        console.Say(action == PowerAction.Restart ? "restart" : "power off");
        console.Flush(ConsoleTime);
        Now(action);
    }

    /// <summary>Writes the disks and ends the machine at once. Never returns.</summary>
    [DoesNotReturn]
    public static void Now(PowerAction action)
    {
        FileSystems.Sync();
        ConsoleDevice.Drain();
        if (action == PowerAction.Off)
        {
            Try(MachinePower.PowerOff);
        }

        Try(MachinePower.Restart);

        // Both calls end the machine; if neither could, PID 1 must not return: the end of init is a panic, which ends it too.
        Environment.FailFast("The kernel refused to end the machine.");
    }

    private static async Task UntilAloneAsync(TimeSpan limit, TimeProvider clock)
    {
        var start = clock.GetTimestamp();
        while (HasUserProcesses() && clock.GetElapsedTime(start) < limit)
        {
            await Task.Delay(Poll, clock);
        }
    }

    /// <summary>Whether anything but kernel threads and this process is left. Kernel threads have no command line; zombies neither.</summary>
    private static bool HasUserProcesses() =>
        ProcessIdentity.AllPids().Any(pid => pid != Environment.ProcessId && ProcessIdentity.CommandLine(pid).Count > 0);

    /// <summary>Unmounts every disk, the last mounted first; the root disk, which stays in use, becomes read-only. What has no device keeps no data.</summary>
    /// <returns>What could not be done, one sentence each.</returns>
    private static List<string> ReleaseDisks()
    {
        var problems = new List<string>();
        foreach (var mount in Disks().Reverse())
        {
            try
            {
                Release(mount);
            }
            catch (Win32Exception e)
            {
                // What was written is on the disk already; its file system is just not marked clean.
                problems.Add($"{e.Message}.");
            }
        }

        return problems;
    }

    private static IEnumerable<MountEntry> Disks()
    {
        try
        {
            return MountTable.Read().Where(mount => mount.Source.StartsWith('/'));
        }
        catch (IOException)
        {
            // Without /proc nothing was mounted by us; the data are synced already.
            return [];
        }
    }

    private static void Release(MountEntry mount)
    {
        if (mount.Target != "/")
        {
            try
            {
                Mounts.Unmount(mount.Target, UnmountOptions.NoFollow);
                return;
            }
            catch (Win32Exception e) when (e.NativeErrorCode is Errno.Busy)
            {
                // In use from inside the kernel, such as by a loop device: then at least nothing is written to it any more.
            }
        }

        if (!mount.IsReadOnly)
        {
            Mounts.Mount(null, mount.Target, null, MountOptions.Remount | MountOptions.ReadOnly);
        }
    }

    private static void Try(Action action) => Try(() =>
    {
        action();
        return true;
    });

    private static bool Try(Func<bool> action)
    {
        try
        {
            return action();
        }
        catch (Win32Exception)
        {
            // The next step is the remedy: nobody is left to tell.
            return false;
        }
    }
}
