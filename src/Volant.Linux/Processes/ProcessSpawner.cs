using System.ComponentModel;
using System.Runtime.InteropServices;

namespace Volant.Linux.Processes;

/// <summary>Everything about a child process that is to be started.</summary>
public sealed record SpawnRequest
{
    /// <summary>Absolute path of the program, then its arguments.</summary>
    public required IReadOnlyList<string> Arguments { get; init; }

    /// <summary>The whole environment as <c>NAME=value</c>; empty by default, nothing is inherited.</summary>
    public IReadOnlyList<string> Environment { get; init; } = [];

    /// <summary>Working directory.</summary>
    public string WorkingDirectory { get; init; } = "/";

    /// <summary>File that standard output and error are appended to (mode 0600); ignored where a descriptor is given.</summary>
    public string? OutputFile { get; init; }

    /// <summary>Descriptor that becomes standard input; <c>/dev/null</c> when null.</summary>
    public SafeHandle? StandardInput { get; init; }

    /// <summary>Descriptor that becomes standard output; null for <see cref="OutputFile"/> or <c>/dev/null</c>.</summary>
    public SafeHandle? StandardOutput { get; init; }

    /// <summary>Descriptor that becomes standard error; null for <see cref="OutputFile"/> or <c>/dev/null</c>.</summary>
    public SafeHandle? StandardError { get; init; }

    /// <summary>Device of a terminal that becomes all three, and the controlling terminal; the descriptors must be null then.</summary>
    public string? Terminal { get; init; }

    /// <summary>Whose rights it has; this process's own when null. Only root may give others.</summary>
    public ProcessUser? User { get; init; }

    /// <summary>The files that it sees; all when null. The program and all that it needs must be among them.</summary>
    public FileView? View { get; init; }

    /// <summary>Whether it and its children can never gain rights, by set-user-id programs for example (<c>PR_SET_NO_NEW_PRIVS</c>).</summary>
    public bool NoNewPrivileges { get; init; }

    /// <summary>Which sockets it and its children may make; fewer than all needs <see cref="NoNewPrivileges"/>.</summary>
    public SocketAccess Sockets { get; init; }

    /// <summary>Capabilities that it has even when this process is not root (<c>linux/capability.h</c>); those that this process lacks are left out. None by default.</summary>
    public IReadOnlyList<Capability> Capabilities { get; init; } = [];
}

/// <summary>Starts processes that owe nothing to their parent: own session, chosen environment, no inherited descriptor, no ambient capability but those asked for.</summary>
/// <remarks>
/// <c>posix_spawn</c> with SETSID, SETSIGMASK and SETSIGDEF: signals are default and unblocked (.NET ignores SIGPIPE, and a child would
/// inherit that), descriptors from 3 up are closed. Ambient capabilities (<c>man 7 capabilities</c>), which a service that is not root has its rights
/// by, would pass to every child: the thread that starts one gives up all but the wanted ones first, and keeps what it may do itself. The caller must wait for the child with <see cref="ProcessWait"/>.
/// </remarks>
public static unsafe partial class ProcessSpawner
{
    private const short ResetSignals = 0x04;
    private const short SetSignalMask = 0x08;
    private const short NewSession = 0x80;
    private const int OpenReadWrite = 2;
    private const int OpenAppendCreate = 1 | 0x40 | 0x400;
    private const uint OwnerOnly = 0x180;
    private const int Ambient = 47; // PR_CAP_AMBIENT
    private const nuint Raise = 2; // PR_CAP_AMBIENT_RAISE
    private const nuint ClearAll = 4; // PR_CAP_AMBIENT_CLEAR_ALL

    /// <summary>Starts the process and returns its id.</summary>
    /// <exception cref="Win32Exception">The program could not be started; <c>NativeErrorCode</c> is the errno.</exception>
    public static int Spawn(SpawnRequest request)
    {
        ArgumentNullException.ThrowIfNull(request);
        ArgumentOutOfRangeException.ThrowIfZero(request.Arguments.Count, nameof(request));
        return request is { User: null, View: null, NoNewPrivileges: false, Sockets: SocketAccess.All }
            ? SpawnNow(request)
            : ThreadCredentials.Run(request.View, request.User, request.NoNewPrivileges, request.Sockets, () => SpawnNow(request));
    }

    private static int SpawnNow(SpawnRequest request)
    {
        // SAFETY: glibc's types are smaller than these buffers (posix_spawn_file_actions_t 80, posix_spawnattr_t 336, sigset_t 128 bytes).
        var actions = stackalloc byte[256];
        var attributes = stackalloc byte[512];
        var signals = stackalloc byte[128];
        Check(ActionsInit(actions), "posix_spawn_file_actions_init");
        Check(AttributesInit(attributes), "posix_spawnattr_init");
        try
        {
            if (request.Terminal is { } terminal)
            {
                // The leader of a new session gets the first terminal that it opens as its controlling one (man 4 tty).
                Check(ActionsAddOpen(actions, 0, terminal, OpenReadWrite, 0), "posix_spawn_file_actions_addopen");
                Check(ActionsAddDup2(actions, 0, 1), "posix_spawn_file_actions_adddup2");
                Check(ActionsAddDup2(actions, 0, 2), "posix_spawn_file_actions_adddup2");
            }
            else
            {
                Redirect(actions, 0, request.StandardInput, null);
                Redirect(actions, 1, request.StandardOutput, request.OutputFile);
                Redirect(actions, 2, request.StandardError, request.OutputFile);
            }

            Check(ActionsAddCloseFrom(actions, 3), "posix_spawn_file_actions_addclosefrom_np");
            Check(ActionsAddChdir(actions, request.WorkingDirectory), "posix_spawn_file_actions_addchdir_np");
            Check(SignalsEmpty(signals), "sigemptyset");
            Check(AttributesSetMask(attributes, signals), "posix_spawnattr_setsigmask");
            Check(SignalsFill(signals), "sigfillset");
            Check(AttributesSetDefault(attributes, signals), "posix_spawnattr_setsigdefault");
            Check(AttributesSetFlags(attributes, NewSession | SetSignalMask | ResetSignals), "posix_spawnattr_setflags");

            using var arguments = new StringVector(request.Arguments);
            using var environment = new StringVector(request.Environment);
            _ = ProcessControl(Ambient, ClearAll, 0, 0, 0); // cannot fail since Linux 4.3
            foreach (var capability in request.Capabilities)
            {
                _ = ProcessControl(Ambient, Raise, (nuint)capability, 0, 0); // Fails when this process may not pass it on; the program says what it lacks.
            }

            int pid;
            Check(PosixSpawn(&pid, request.Arguments[0], actions, attributes, arguments.Pointer, environment.Pointer), request.Arguments[0]);
            return pid;
        }
        finally
        {
            _ = AttributesDestroy(attributes);
            _ = ActionsDestroy(actions);
            GC.KeepAlive(request);
        }
    }

    private static void Redirect(byte* actions, int target, SafeHandle? source, string? file)
    {
        if (source is not null)
        {
            Check(ActionsAddDup2(actions, (int)source.DangerousGetHandle(), target), "posix_spawn_file_actions_adddup2");
        }
        else
        {
            var flags = file is null ? OpenReadWrite : OpenAppendCreate;
            Check(ActionsAddOpen(actions, target, file ?? "/dev/null", flags, OwnerOnly), "posix_spawn_file_actions_addopen");
        }
    }

    private static void Check(int error, string what)
    {
        if (error != 0)
        {
            throw LinuxError.Of(error, what);
        }
    }

    [LibraryImport("libc", EntryPoint = "posix_spawn", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int PosixSpawn(int* pid, string path, byte* actions, byte* attributes, byte** arguments, byte** environment);

    [LibraryImport("libc", EntryPoint = "prctl")]
    private static partial int ProcessControl(int option, nuint a, nuint b, nuint c, nuint d);

    [LibraryImport("libc", EntryPoint = "posix_spawn_file_actions_init")]
    private static partial int ActionsInit(byte* actions);

    [LibraryImport("libc", EntryPoint = "posix_spawn_file_actions_destroy")]
    private static partial int ActionsDestroy(byte* actions);

    [LibraryImport("libc", EntryPoint = "posix_spawn_file_actions_addopen", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int ActionsAddOpen(byte* actions, int fd, string path, int flags, uint mode);

    [LibraryImport("libc", EntryPoint = "posix_spawn_file_actions_adddup2")]
    private static partial int ActionsAddDup2(byte* actions, int fd, int target);

    [LibraryImport("libc", EntryPoint = "posix_spawn_file_actions_addclosefrom_np")]
    private static partial int ActionsAddCloseFrom(byte* actions, int from);

    [LibraryImport("libc", EntryPoint = "posix_spawn_file_actions_addchdir_np", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int ActionsAddChdir(byte* actions, string path);

    [LibraryImport("libc", EntryPoint = "posix_spawnattr_init")]
    private static partial int AttributesInit(byte* attributes);

    [LibraryImport("libc", EntryPoint = "posix_spawnattr_destroy")]
    private static partial int AttributesDestroy(byte* attributes);

    [LibraryImport("libc", EntryPoint = "posix_spawnattr_setflags")]
    private static partial int AttributesSetFlags(byte* attributes, short flags);

    [LibraryImport("libc", EntryPoint = "posix_spawnattr_setsigmask")]
    private static partial int AttributesSetMask(byte* attributes, byte* signals);

    [LibraryImport("libc", EntryPoint = "posix_spawnattr_setsigdefault")]
    private static partial int AttributesSetDefault(byte* attributes, byte* signals);

    [LibraryImport("libc", EntryPoint = "sigemptyset")]
    private static partial int SignalsEmpty(byte* signals);

    [LibraryImport("libc", EntryPoint = "sigfillset")]
    private static partial int SignalsFill(byte* signals);
}
