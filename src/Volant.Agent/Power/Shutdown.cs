using System.ComponentModel;
using System.Diagnostics.CodeAnalysis;
using Volant.Linux.Kernel;
using Volant.Linux.Processes;

namespace Volant.Agent.Power;

/// <summary>The end of the guest: processes ended, disks written, machine off. For PID 1 only.</summary>
internal static class PowerOff
{
    /// <summary>How long other processes may take to end after SIGTERM.</summary>
    public static readonly TimeSpan Grace = TimeSpan.FromSeconds(2);

    private static readonly TimeSpan Poll = TimeSpan.FromMilliseconds(10);

    /// <summary>Ends every process, writes the disks and switches the machine off. Never returns.</summary>
    [DoesNotReturn]
    public static async Task OrderlyAsync(ConsoleLog console, TimeProvider clock)
    {
        if (Try(() => Signals.SendToAll(Signals.Terminate)))
        {
            var start = clock.GetTimestamp();
            while (HasUserProcesses() && clock.GetElapsedTime(start) < Grace)
            {
                await Task.Delay(Poll, clock);
            }

            Try(() => Signals.SendToAll(Signals.Kill));
        }

        FileSystems.Sync();
        UnmountDisks();
        console.Say("power off");
        console.Flush(TimeSpan.FromSeconds(1));
        Now();
    }

    /// <summary>Writes the disks and switches the machine off at once. Never returns.</summary>
    [DoesNotReturn]
    public static void Now()
    {
        FileSystems.Sync();
        Try(MachinePower.PowerOff);
        Try(MachinePower.Restart);

        // Both calls end the machine; if neither could, PID 1 must not return: the end of init is a panic, which ends it too.
        Environment.FailFast("The kernel refused to switch the machine off.");
    }

    /// <summary>Whether anything but kernel threads and this process is left. Kernel threads have no command line; zombies neither.</summary>
    private static bool HasUserProcesses() =>
        ProcessIdentity.AllPids().Any(pid => pid != Environment.ProcessId && ProcessIdentity.CommandLine(pid).Count > 0);

    private static void UnmountDisks()
    {
        try
        {
            // Last mounted first. What has no device keeps no data.
            foreach (var line in File.ReadAllLines("/proc/mounts").Reverse())
            {
                var fields = line.Split(' ');
                if (fields.Length > 1 && fields[0].StartsWith('/'))
                {
                    Try(() => Mounts.Unmount(Unescape(fields[1]), UnmountOptions.Detach));
                }
            }
        }
        catch (IOException)
        {
            // Without /proc nothing was mounted by us; the data are synced already.
        }

        FileSystems.Sync();
    }

    // man 5 fstab: a space in a path is \040.
    private static string Unescape(string path) => path.Replace("\\040", " ", StringComparison.Ordinal);

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
