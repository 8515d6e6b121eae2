using System.Collections.Concurrent;
using System.Runtime.InteropServices;

namespace Volant.Linux.Processes;

/// <summary>Tells when processes end: one thread polls the pidfds of all of them with epoll.</summary>
/// <remarks>Works for children and for adopted processes alike; only a child has an exit status. Lives as long as the program.</remarks>
public static partial class ProcessExitWatcher
{
    private const int Add = 1;
    private const int Delete = 2;
    private const uint Readable = 1;

    private static readonly Lock Gate = new();
    private static readonly ConcurrentDictionary<int, (PidFd Process, TaskCompletionSource<ProcessExit> Exit)> Watched = new();
    private static int s_epoll = -1;

    /// <summary>Completes when the process behind <paramref name="process"/> has ended, and reaps it if it is a child.</summary>
    /// <remarks>The descriptor must stay open until then.</remarks>
    public static unsafe Task<ProcessExit> WaitForExitAsync(PidFd process)
    {
        ArgumentNullException.ThrowIfNull(process);
        var exit = new TaskCompletionSource<ProcessExit>(TaskCreationOptions.RunContinuationsAsynchronously);
        Watched[process.Descriptor] = (process, exit);
        var request = new EpollEvent { Events = Readable, Data = process.Descriptor };
        LinuxError.Check(EpollControl(Epoll(), Add, process.Descriptor, &request), "epoll_ctl");
        return exit.Task;
    }

    /// <summary>Completes with the exit of a child that this process has started, and reaps it.</summary>
    /// <param name="pid">The child, which nobody else waits for.</param>
    /// <param name="signal">What it is sent when <paramref name="cancellationToken"/> is cancelled; its end is waited for all the same.</param>
    /// <param name="cancellationToken">Ends the child, not the wait.</param>
    public static async Task<ProcessExit> WaitForChildAsync(int pid, int signal, CancellationToken cancellationToken)
    {
        using var process = ProcessIdentity.Find(pid) is { } identity ? PidFd.TryOpen(identity) : null;
        if (process is null)
        {
            // Nobody else reaps it: it has ended, or is about to.
            return ProcessWait.Reap(pid) ?? new ProcessExit(pid, null, null);
        }

        await using var stop = cancellationToken.Register(() => process.Signal(signal));
        return await WaitForExitAsync(process);
    }

    private static int Epoll()
    {
        lock (Gate)
        {
            if (s_epoll < 0)
            {
                s_epoll = LinuxError.Check(EpollCreate(0x80000), "epoll_create1");
                new Thread(Run) { IsBackground = true, Name = "process-exits" }.Start();
            }

            return s_epoll;
        }
    }

    private static unsafe void Run()
    {
        var events = stackalloc EpollEvent[16];
        while (true)
        {
            var count = EpollWait(s_epoll, events, 16, -1);
            for (var i = 0; i < count; i++)
            {
                var descriptor = (int)events[i].Data;
                _ = EpollControl(s_epoll, Delete, descriptor, null);
                if (Watched.TryRemove(descriptor, out var watched))
                {
                    var pid = watched.Process.Identity.Pid;

                    // It has ended, but of a program with threads the last may be a moment behind: without waiting for that its status would be lost.
                    watched.Exit.TrySetResult(ProcessWait.Reap(pid) ?? new ProcessExit(pid, null, null));
                }
            }
        }
    }

    [LibraryImport("libc", EntryPoint = "epoll_create1", SetLastError = true)]
    private static partial int EpollCreate(int flags);

    [LibraryImport("libc", EntryPoint = "epoll_ctl", SetLastError = true)]
    private static unsafe partial int EpollControl(int epoll, int operation, int fd, EpollEvent* request);

    [LibraryImport("libc", EntryPoint = "epoll_wait", SetLastError = true)]
    private static unsafe partial int EpollWait(int epoll, EpollEvent* events, int max, int timeout);

    /// <summary>The kernel's <c>struct epoll_event</c>: packed on x86-64 only.</summary>
    [StructLayout(LayoutKind.Sequential, Pack = 4)]
    private struct EpollEvent
    {
        public uint Events;
        public long Data;
    }
}
