using Volant.Linux.Processes;

namespace Volant.Daemon.Hypervisors.Qemu;

/// <summary>Recognises hypervisors of ours among the processes of this host.</summary>
internal static class QemuIdentity
{
    private const string ProgramPrefix = "qemu";

    /// <summary>Hypervisors that serve VMs below a runtime directory, among them those that were started but never recorded.</summary>
    /// <remarks>
    /// Only processes of this user whose executable is QEMU and whose command line carries the identity of a VM and a control socket
    /// in a directory below.
    /// </remarks>
    /// <param name="runtimeDirectory">Directory that holds the directories of the VMs.</param>
    public static IReadOnlyList<(Guid Uid, ProcessIdentity Process)> FindBelow(string runtimeDirectory)
    {
        var root = Path.TrimEndingDirectorySeparator(Path.GetFullPath(runtimeDirectory)) + '/';
        var user = UserOf("self");
        var found = new List<(Guid, ProcessIdentity)>();
        foreach (var pid in ProcessIdentity.AllPids())
        {
            // The identity is read first and looked at again last: in between, the process id may have changed hands.
            if (ProcessIdentity.Find(pid) is { } process && IsHypervisor(pid) && UserOf(pid.ToString()) == user &&
                Read(ProcessIdentity.CommandLine(pid)) is var (uid, socket) &&
                socket.StartsWith(root, StringComparison.Ordinal) && process.IsAlive())
            {
                found.Add((uid, process));
            }
        }

        return found;
    }

    /// <summary>Whether a process runs, by its executable and its command line, the hypervisor of exactly this VM.</summary>
    public static bool Matches(VmHandle handle) =>
        handle.Process.IsAlive() && IsHypervisor(handle.Process.Pid) &&
        Read(ProcessIdentity.CommandLine(handle.Process.Pid)) is { } found &&
        found == (handle.Uid, handle.Paths.ControlSocket);

    /// <summary>What <see cref="QemuArguments.Build"/> wrote at the head of a command line; null when it is not one of ours.</summary>
    internal static (Guid Uid, string ControlSocket)? Read(IReadOnlyList<string> arguments) =>
        Guid.TryParse(After(arguments, "-uuid"), out var uid) &&
        After(arguments, "-chardev") is { } control && QemuOption.Find(control, "id") == QemuArguments.ControlDevice &&
        QemuOption.Find(control, "path") is { } socket
            ? (uid, socket)
            : null;

    private static string? After(IReadOnlyList<string> arguments, string option)
    {
        for (var i = 1; i + 1 < arguments.Count; i++)
        {
            if (arguments[i] == option)
            {
                return arguments[i + 1];
            }
        }

        return null;
    }

    private static bool IsHypervisor(int pid)
    {
        try
        {
            // After an upgrade of the package the link reads "…/qemu-system-x86_64 (deleted)".
            return File.ResolveLinkTarget($"/proc/{pid}/exe", returnFinalTarget: false)?.Name
                .StartsWith(ProgramPrefix, StringComparison.Ordinal) is true;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }

    /// <summary>Effective user id of a process, as text; null when it is gone.</summary>
    private static string? UserOf(string pid)
    {
        try
        {
            // "Uid:\treal\teffective\tsaved\tfile system"
            return File.ReadLines($"/proc/{pid}/status").FirstOrDefault(line => line.StartsWith("Uid:", StringComparison.Ordinal))?.Split('\t')[2];
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }
}
