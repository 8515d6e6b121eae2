using System.Collections.Concurrent;
using System.Runtime.InteropServices;

namespace Volant.Linux.Processes;

/// <summary>Tells when processes end: one thread polls the pidfds of all of them with epoll.</summary>
/// <remarks>Works for children and for adopted processes alike; only a child has an exit status. Lives as long as the program.</remarks>
public static unsafe partial class ProcessExitWatcher
{
    private const int Add = 1;
    private const int Delete = 2;
    private const uint Readable = 1;

    private static readonly Lock Gate = new();
    private static readonly ConcurrentDictionary<int, (PidFd Process, TaskCompletionSource<ProcessExit> Exit)> Watched = new();
    private static int s_epoll = -1;

    /// <summary>Completes when the process behind <paramref name="process"/> has ended, and reaps it if it is a child.</summary>
    /// <remarks>The descriptor must stay open until then.</remarks>
    public static Task<ProcessExit> WaitForExitAsync(PidFd process)
    {
        ArgumentNullException.ThrowIfNull(process);
        var exit = new TaskCompletionSource<ProcessExit>(TaskCreationOptions.RunContinuationsAsynchronously);
        Watched[process.Descriptor] = (process, exit);
        var request = new EpollEvent { Events = Readable, Data = process.Descriptor };
        LinuxError.Check(EpollControl(Epoll(), Add, process.Descriptor, &request), "epoll_ctl");
        return exit.Task;
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

    private static void Run()
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
    private static partial int EpollControl(int epoll, int operation, int fd, EpollEvent* request);

    [LibraryImport("libc", EntryPoint = "epoll_wait", SetLastError = true)]
    private static partial int EpollWait(int epoll, EpollEvent* events, int max, int timeout);

    /// <summary>The kernel's <c>struct epoll_event</c>: packed on x86-64 only.</summary>
    [StructLayout(LayoutKind.Sequential, Pack = 4)]
    private struct EpollEvent
    {
        public uint Events;
        public long Data;
    }
}
