using System.Collections.Concurrent;
using System.ComponentModel;
using System.Runtime.InteropServices;

namespace Volant.Linux.IO;

/// <summary>Waits, without a thread each, until a descriptor can be read, accepted from or written: one thread serves all with epoll.</summary>
/// <remarks>For what the runtime's own loop does not offer: a connection being made, a listening socket. Lives as long as the program.</remarks>
internal static partial class DescriptorReadiness
{
    /// <summary>EPOLLIN.</summary>
    public const uint Readable = 0x1;

    /// <summary>EPOLLOUT.</summary>
    public const uint Writable = 0x4;

    private const uint OneShot = 1u << 30; // EPOLLONESHOT
    private const int CloseOnExec = 0x80000; // EPOLL_CLOEXEC
    private const int Add = 1; // EPOLL_CTL_ADD
    private const int Delete = 2; // EPOLL_CTL_DEL

    private static readonly Lock Gate = new();
    private static readonly ConcurrentDictionary<long, TaskCompletionSource> Waits = new();
    private static int s_epoll = -1;
    private static long s_lastKey;

    /// <summary>Completes when the descriptor is ready or has failed. One wait per descriptor at a time; it must stay open meanwhile.</summary>
    /// <exception cref="Win32Exception">The descriptor cannot be polled.</exception>
    /// <exception cref="OperationCanceledException">Cancelled.</exception>
    public static async Task WaitAsync(SafeHandle descriptor, uint events, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        var epoll = Epoll();
        var key = Interlocked.Increment(ref s_lastKey);
        var ready = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var referenced = false;
        try
        {
            descriptor.DangerousAddRef(ref referenced);
            var fd = (int)descriptor.DangerousGetHandle();
            Waits[key] = ready;
            Register(epoll, fd, events, key);
            try
            {
                await ready.Task.WaitAsync(cancellationToken);
            }
            finally
            {
                Unregister(epoll, fd);
            }
        }
        finally
        {
            Waits.TryRemove(key, out _);
            if (referenced)
            {
                descriptor.DangerousRelease();
            }
        }
    }

    private static unsafe void Register(int epoll, int fd, uint events, long key)
    {
        var request = new EpollEvent { Events = events | OneShot };
        request.SetData(key);
        LinuxError.Check(EpollControl(epoll, Add, fd, &request), "epoll_ctl");
    }

    private static unsafe void Unregister(int epoll, int fd) => _ = EpollControl(epoll, Delete, fd, null);

    private static int Epoll()
    {
        lock (Gate)
        {
            if (s_epoll < 0)
            {
                s_epoll = LinuxError.Check(EpollCreate(CloseOnExec), "epoll_create1");
                new Thread(Run) { IsBackground = true, Name = "descriptors" }.Start();
            }

            return s_epoll;
        }
    }

    private static unsafe void Run()
    {
        // SAFETY: the buffer holds 16 events of 12 bytes (x86-64) or 16 bytes (elsewhere).
        var events = stackalloc byte[16 * 16];
        while (true)
        {
            var count = EpollWait(s_epoll, events, 16, -1);
            for (var i = 0; i < count; i++)
            {
                if (Waits.TryRemove(EpollEvent.DataAt(events, i), out var ready))
                {
                    ready.TrySetResult();
                }
            }
        }
    }

    [LibraryImport("libc", EntryPoint = "epoll_create1", SetLastError = true)]
    private static partial int EpollCreate(int flags);

    [LibraryImport("libc", EntryPoint = "epoll_ctl", SetLastError = true)]
    private static unsafe partial int EpollControl(int epoll, int operation, int fd, EpollEvent* request);

    [LibraryImport("libc", EntryPoint = "epoll_wait", SetLastError = true)]
    private static unsafe partial int EpollWait(int epoll, byte* events, int max, int timeout);

    /// <summary>The kernel's <c>struct epoll_event</c>: 12 bytes, packed, on x86-64; 16 bytes, with padding, elsewhere.</summary>
    [StructLayout(LayoutKind.Sequential, Size = 16)]
    private struct EpollEvent
    {
        private static readonly bool Packed = RuntimeInformation.ProcessArchitecture == Architecture.X64;

        public uint Events;
        private uint _word1;
        private uint _word2;
        private uint _word3;

        public static unsafe long DataAt(byte* events, int index) =>
            Packed ? *(long*)(events + (index * 12) + 4) : *(long*)(events + (index * 16) + 8);

        public void SetData(long data)
        {
            if (Packed)
            {
                (_word1, _word2) = ((uint)data, (uint)(data >> 32));
            }
            else
            {
                (_word2, _word3) = ((uint)data, (uint)(data >> 32));
            }
        }
    }
}
