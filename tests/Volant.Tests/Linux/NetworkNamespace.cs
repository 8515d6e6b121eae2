using System.Runtime.ExceptionServices;
using System.Runtime.InteropServices;
using Volant.Linux.Kernel;

namespace Volant.Tests.Linux;

/// <summary>What a thread may have of its own (<c>man 7 namespaces</c>).</summary>
[Flags]
internal enum NamespaceKinds
{
    /// <summary>CLONE_NEWNS.</summary>
    Mount = 0x20000,

    /// <summary>CLONE_NEWUTS.</summary>
    HostName = 0x4000000,

    /// <summary>CLONE_NEWNET.</summary>
    Network = 0x40000000,
}

/// <summary>Runs code on a thread with namespaces of its own, which vanish with the thread: the host's are never touched.</summary>
/// <remarks>
/// Only what runs on that thread sees them: the code must open its sockets and files there and not go on elsewhere.
/// Without the permission the test is skipped.
/// </remarks>
internal static class NetworkNamespace
{
    private const int NotPermitted = 1;

    [UnmanagedFunctionPointer(CallingConvention.Cdecl, SetLastError = true)]
    private delegate int UnshareCall(int flags);

    [UnmanagedFunctionPointer(CallingConvention.Cdecl, SetLastError = true)]
    private delegate int SetCapabilitiesCall(uint[] header, uint[] sets);

    private static readonly SetCapabilitiesCall SetCapabilities = Marshal.GetDelegateForFunctionPointer<SetCapabilitiesCall>(
        NativeLibrary.GetExport(NativeLibrary.Load("libc.so.6"), "capset"));

    private static readonly UnshareCall Unshare = Marshal.GetDelegateForFunctionPointer<UnshareCall>(
        NativeLibrary.GetExport(NativeLibrary.Load("libc.so.6"), "unshare"));

    /// <summary>Runs <paramref name="action"/> in a network namespace that has only a loopback interface, which is down.</summary>
    public static void Run(Action action) => Run(NamespaceKinds.Network, action);

    /// <summary>Takes all capabilities from this thread alone, for good (<c>man 2 capset</c>, version 3).</summary>
    public static void DropCapabilities() => Assert.Equal(0, SetCapabilities([0x20080522, 0], new uint[6]));

    /// <summary>Runs <paramref name="action"/> in a network namespace, with the path of a sysfs that shows it: the host's /sys does not.</summary>
    public static void RunWithSysfs(Action<string> action) => Run(NamespaceKinds.Network | NamespaceKinds.Mount, () =>
    {
        using var directory = new TemporaryDirectory();
        Mounts.Mount(null, "/", null, MountOptions.Private | MountOptions.Recursive);
        Mounts.Mount("sysfs", directory.Path, "sysfs");
        try
        {
            action(directory.Path);
        }
        finally
        {
            Mounts.Unmount(directory.Path);
        }
    });

    /// <summary>Runs <paramref name="action"/> in new namespaces of these kinds; a mount namespace starts as a copy.</summary>
    public static void Run(NamespaceKinds kinds, Action action)
    {
        ExceptionDispatchInfo? failure = null;
        var refused = 0;
        var thread = new Thread(() =>
        {
            try
            {
                refused = Unshare((int)kinds) == 0 ? 0 : Marshal.GetLastPInvokeError();
                if (refused == 0)
                {
                    action();
                }
            }
#pragma warning disable CA1031 // Whatever it is, the test's thread throws it again.
            catch (Exception e)
#pragma warning restore CA1031
            {
                failure = ExceptionDispatchInfo.Capture(e);
            }
        })
        { IsBackground = true, Name = "namespace" };
        thread.Start();
        thread.Join();
        Assert.SkipWhen(refused == NotPermitted, "Needs root: unshare was refused.");
        Assert.Equal(0, refused);
        failure?.Throw();
    }
}
