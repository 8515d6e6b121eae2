using Volant.Linux.IO;
using Volant.Linux.Processes;

namespace Volant.Daemon.Hypervisors;

/// <summary>Recognises hypervisors of ours among the processes of this host.</summary>
/// <param name="isProgram">Whether a file name is that of the hypervisor's program.</param>
/// <param name="read">The VM's identity and the control socket that a command line names; null when it is not one of ours.</param>
internal sealed class HypervisorIdentity(Func<string, bool> isProgram, Func<IReadOnlyList<string>, (Guid Uid, string ControlSocket)?> read)
{
    private const string Deleted = " (deleted)";

    /// <summary>Hypervisors that serve VMs below a runtime directory, among them those that were started but never recorded.</summary>
    /// <remarks>
    /// Only processes of this user, or of any when it gives VMs users of their own; whose executable is the hypervisor's and whose command line
    /// carries the identity of a VM and a control socket in a directory below. Where this process may not see what another user's executes, that
    /// user must have been given the directory.
    /// </remarks>
    /// <param name="runtimeDirectory">Directory that holds the directories of the VMs.</param>
    public IReadOnlyList<(Guid Uid, ProcessIdentity Process)> FindBelow(string runtimeDirectory)
    {
        var root = Path.TrimEndingDirectorySeparator(Path.GetFullPath(runtimeDirectory)) + '/';
        var user = EffectiveUser.Has(Capability.SetUid) ? null : UserOf("self");
        var found = new List<(Guid, ProcessIdentity)>();
        foreach (var pid in ProcessIdentity.AllPids())
        {
            // The identity is read first and looked at again last: in between, the process id may have changed hands.
            if (ProcessIdentity.Find(pid) is { } process && IsHypervisor(pid) is not false and var seen && (user is null || UserOf(pid.ToString()) == user) &&
                read(ProcessIdentity.CommandLine(pid)) is var (uid, socket) &&
                socket.StartsWith(root, StringComparison.Ordinal) && (seen is true || OwnsDirectoryOf(socket, pid)) && process.IsAlive())
            {
                found.Add((uid, process));
            }
        }

        return found;
    }

    /// <summary>Whether a process runs, by its executable and its command line, the hypervisor of exactly this VM.</summary>
    /// <remarks>
    /// Without CAP_SYS_PTRACE this process may not see what another user's executes. Then its command line has to do: it is the process that was recorded,
    /// and a VM declared gone would have its address and its disk given away while it runs.
    /// </remarks>
    public bool Matches(VmHandle handle) =>
        handle.Process.IsAlive() && ProcessIdentity.CommandLine(handle.Process.Pid) is [var program, ..] line &&
        (IsHypervisor(handle.Process.Pid) ?? isProgram(Path.GetFileName(program))) &&
        read(line) is { } found &&
        found == (handle.Uid, handle.Paths.ControlSocket);

    /// <summary>The argument after an option; null when the option is not there.</summary>
    public static string? After(IReadOnlyList<string> arguments, string option)
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

    /// <summary>By its executable; null when this process may not know that.</summary>
    private bool? IsHypervisor(int pid)
    {
        try
        {
            // After an upgrade of the package the link reads "…/qemu-system-x86_64 (deleted)".
            return File.ResolveLinkTarget($"/proc/{pid}/exe", returnFinalTarget: false)?.Name is { } name &&
                isProgram(name.EndsWith(Deleted, StringComparison.Ordinal) ? name[..^Deleted.Length] : name);
        }
        catch (UnauthorizedAccessException)
        {
            return null;
        }
        catch (IOException)
        {
            return false;
        }
    }

    /// <summary>Whether a process is the user that the directory of its VM was given to.</summary>
    private bool OwnsDirectoryOf(string socket, int pid) =>
        ProcessIdentity.CommandLine(pid) is [var program, ..] && isProgram(Path.GetFileName(program)) &&
        LinkStatus.Find(Path.GetDirectoryName(socket)!) is { Kind: not LinkKind.SymbolicLink } directory && $"{directory.Uid}" == UserOf($"{pid}");

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
