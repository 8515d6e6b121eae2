using System.ComponentModel;
using System.Runtime.ExceptionServices;
using System.Runtime.InteropServices;

namespace Volant.Linux.Processes;

/// <summary>A user as the kernel sees one.</summary>
/// <param name="Uid">User id.</param>
/// <param name="Gid">Primary group.</param>
/// <param name="Groups">Supplementary groups, at most 65,536.</param>
public sealed record ProcessUser(uint Uid, uint Gid, IReadOnlyList<uint> Groups);

/// <summary>Does something with the rights of another user, on a thread that ends with it.</summary>
/// <remarks>
/// For the kernel, rights belong to a thread (<c>man 7 nptl</c>); the C library's functions change those of all threads, so the system calls are made
/// directly. A process that such a thread starts has its rights from the first instruction on, and the other threads of this one are never touched.
/// The kernel makes this process undumpable meanwhile, so that the other user cannot trace it.
/// </remarks>
internal static unsafe partial class ThreadCredentials
{
    private const int StackSize = 256 * 1024;
    private const int SetNoNewPrivileges = 38; // PR_SET_NO_NEW_PRIVS, of a thread

    // arm64 has the numbers of asm-generic.
    private static bool IsArm => RuntimeInformation.ProcessArchitecture == Architecture.Arm64;

    /// <summary>Runs <paramref name="action"/> and returns what it returns, or throws what it throws.</summary>
    /// <param name="view">The files that it sees; null for all.</param>
    /// <param name="user">Whose rights it has; null for those of this process.</param>
    /// <param name="noNewPrivileges">Whether what it starts can never gain rights.</param>
    /// <param name="sockets">Which sockets it, and what it starts, may make; fewer than all needs <paramref name="noNewPrivileges"/>.</param>
    /// <param name="action">What is done.</param>
    /// <exception cref="Win32Exception">EPERM: needs CAP_SETUID and CAP_SETGID. EAGAIN: no more threads.</exception>
    public static T Run<T>(FileView? view, ProcessUser? user, bool noNewPrivileges, SocketAccess sockets, Func<T> action)
    {
        ExceptionDispatchInfo? failure = null;
        T result = default!; // Assigned unless there is a failure.
        var thread = new Thread(
            () =>
            {
                try
                {
                    view?.Enter(user?.Uid ?? EffectiveUser.Id, user?.Gid ?? 0);
                    if (user is not null)
                    {
                        Become(user);
                    }

                    if (noNewPrivileges)
                    {
                        LinuxError.Check(ProcessControl(SetNoNewPrivileges, 1, 0, 0, 0), "Giving up new rights");
                    }

                    if (sockets != SocketAccess.All)
                    {
                        SocketFilter.Apply(sockets);
                    }

                    result = action();
                }
                catch (Exception e)
                {
                    failure = ExceptionDispatchInfo.Capture(e);
                }
            },
            StackSize)
        {
            IsBackground = true,
            Name = "credentials",
        };
        try
        {
            thread.Start();
        }
        catch (OutOfMemoryException)
        {
            // What the runtime says when the kernel gives no thread.
            throw LinuxError.Of(Errno.Again, "Starting a thread");
        }

        thread.Join();
        failure?.Throw();
        return result;
    }

    private static void Become(ProcessUser user)
    {
        var groups = user.Groups.ToArray();
        fixed (uint* list = groups)
        {
            LinuxError.Check((int)Call(IsArm ? 159 : 116, groups.Length, (nint)list, 0, 0, 0, 0), "setgroups");
        }

        LinuxError.Check((int)Call(IsArm ? 149 : 119, (nint)user.Gid, (nint)user.Gid, (nint)user.Gid, 0, 0, 0), $"Taking the group {user.Gid}");
        LinuxError.Check((int)Call(IsArm ? 147 : 117, (nint)user.Uid, (nint)user.Uid, (nint)user.Uid, 0, 0, 0), $"Taking the user {user.Uid}");
        if (user.Uid != 0)
        {
            DropCapabilities();
        }
    }

    /// <summary>Gives up every right of root's. The kernel does so by itself when root becomes another user, but not for a service that had them as a user.</summary>
    /// <remarks>Ambient ones go with the inheritable ones. The structures are those of <c>capset(2)</c>, version 3.</remarks>
    private static void DropCapabilities()
    {
        var header = stackalloc uint[2] { 0x20080522, 0 };
        var none = stackalloc uint[6];
        LinuxError.Check((int)Call(IsArm ? 91 : 126, (nint)header, (nint)none, 0, 0, 0, 0), "Giving up capabilities");
    }

    [LibraryImport("libc", EntryPoint = "prctl", SetLastError = true)]
    private static partial int ProcessControl(int option, nuint a, nuint b, nuint c, nuint d);

    [LibraryImport("libc", EntryPoint = "syscall", SetLastError = true)]
    private static partial nint Call(nint number, nint a, nint b, nint c, nint d, nint e, nint f);
}
