using System.ComponentModel;
using System.Text;
using Volant.Contracts.Api;
using Volant.Linux.Kernel;
using Volant.Linux.Processes;

namespace Volant.Daemon.Hypervisors;

/// <summary>One start of a hypervisor's process, and what to say when it comes to nothing.</summary>
internal sealed class LaunchAttempt
{
    private const int MaxLogTail = 2048;
    private const long Mebibyte = 1 << 20;

    /// <summary>What a guest's devices keep in memory besides that of the guest: registers and tables.</summary>
    private const long DeviceMemoryMib = 1024;

    private readonly LaunchSpec _spec;
    private readonly SocketAccess _sockets;
    private readonly int _overheadMib;
    private readonly long _logStart;

    /// <summary>Checks the boot media and removes the sockets that an earlier run left.</summary>
    /// <param name="spec">What is started.</param>
    /// <param name="sockets">Which sockets this hypervisor makes.</param>
    /// <param name="overheadMib">Memory in MiB that this hypervisor needs besides a tenth of the guest's.</param>
    /// <exception cref="VolantException"><c>artifact_not_found</c> or <c>invalid_media</c>.</exception>
    public LaunchAttempt(LaunchSpec spec, SocketAccess sockets, int overheadMib = 0)
    {
        _spec = spec;
        _sockets = sockets;
        _overheadMib = overheadMib;
        BootFiles.CheckKernel(spec.Kernel);
        if (spec.Initramfs is { } initramfs)
        {
            BootFiles.CheckInitramfs(initramfs);
        }

        RemoveSockets();
        _logStart = new FileInfo(spec.Paths.HypervisorLog) is { Exists: true } file ? file.Length : 0;
    }

    /// <summary>Starts the process; it owes nothing to this one.</summary>
    /// <exception cref="VolantException"><c>hypervisor_unavailable</c>: it could not be started, or has ended already.</exception>
    public (VmHandle Handle, PidFd Process) Spawn(IReadOnlyList<string> arguments)
    {
        int pid;
        try
        {
            if (_spec.ControlGroup is { } limited)
            {
                ResourceGroup.Limit(limited, _spec, _overheadMib);
            }

            AllowLockedMemory();
            var request = new SpawnRequest { Arguments = arguments, WorkingDirectory = _spec.Paths.Directory, OutputFile = _spec.Paths.HypervisorLog, Sockets = _sockets };
            pid = ProcessSpawner.Spawn(Confinement.Apply(request, _spec));
        }
        catch (Win32Exception e)
        {
            throw new VolantException(
                ErrorCodes.HypervisorUnavailable, $"The hypervisor '{arguments[0]}' could not be started in '{_spec.Paths.Directory}': {e.Message}", e);
        }

        // Our child: its id cannot change hands before it was waited for.
        if (ProcessIdentity.Find(pid) is { } identity && PidFd.TryOpen(identity) is { } descriptor)
        {
            Contain(pid, descriptor);
            return (new VmHandle(_spec.Uid, identity, _spec.Paths), descriptor);
        }

        // The first thread is dead, others may be about to: until they are, there is no exit status, and the zombie would stay.
        var exit = ProcessWait.Reap(pid);
        throw Failed(new HypervisorExit(exit?.ExitCode, exit?.Signal, null));
    }

    /// <summary>A device of the host reads and writes the guest's memory, so that all of it must stay where it is; a user without rights may keep little.</summary>
    private void AllowLockedMemory()
    {
        if (_spec is { PciDevices.Count: > 0, User: not null } && !ProcessLimits.TryRaiseLockedMemory((_spec.MemoryMib + DeviceMemoryMib) * Mebibyte))
        {
            throw new VolantException(
                ErrorCodes.HypervisorUnavailable,
                $"VM {_spec.Uid} has devices of the host, so its {_spec.MemoryMib} MiB must stay in memory, and volantd may not allow that (RLIMIT_MEMLOCK). Set LimitMEMLOCK=infinity for its service, or run 'ulimit -l unlimited' before it.");
        }
    }

    private void Contain(int pid, PidFd process)
    {
        if (_spec.ControlGroup is not { } group)
        {
            return;
        }

        try
        {
            ResourceGroup.Add(group, pid);
        }
        catch
        {
            process.Signal(Signals.Kill);
            ProcessWait.Reap(pid);
            process.Dispose();
            throw;
        }
    }

    /// <summary>The process ended before it ran the VM.</summary>
    public VolantException Failed(HypervisorExit exit)
    {
        var how = exit switch
        {
            { Signal: { } signal } => $"signal {signal} ended it",
            { Code: { } code } => $"it exited with code {code}",
            _ => "it ended",
        };
        return new VolantException(ErrorCodes.HypervisorUnavailable, $"The hypervisor of VM {_spec.Uid} did not start: {how}.{Tail()}");
    }

    /// <summary>The process lives and does not answer.</summary>
    public VolantException Silent(TimeSpan limit, Exception cause) => new(
        ErrorCodes.HypervisorUnavailable,
        $"The hypervisor of VM {_spec.Uid} did not answer on its control socket within {limit.TotalSeconds:F0} s; the host is overloaded or the hypervisor hangs.{Tail()}",
        cause);

    /// <summary>The process answered that it will not run this VM.</summary>
    public VolantException Refused(Exception cause) => new(
        ErrorCodes.HypervisorUnavailable, $"The hypervisor refused VM {_spec.Uid}: {cause.Message}{Tail()}", cause);

    /// <summary>Removes what listens no more.</summary>
    public void RemoveSockets()
    {
        foreach (var socket in _spec.Paths.Sockets)
        {
            File.Delete(socket);
        }
    }

    /// <summary>The last lines that this launch wrote to the log, as one line of printable text; empty when there are none.</summary>
    private string Tail()
    {
        try
        {
            using var log = File.OpenHandle(_spec.Paths.HypervisorLog, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
            var from = Math.Max(_logStart, RandomAccess.GetLength(log) - MaxLogTail);
            var buffer = new byte[MaxLogTail];
            var text = new StringBuilder(Encoding.UTF8.GetString(buffer, 0, RandomAccess.Read(log, buffer, from)).Trim());
            for (var i = 0; i < text.Length; i++)
            {
                text[i] = char.IsControl(text[i]) ? ' ' : text[i];
            }

            return text.Length == 0 ? string.Empty : $" It said: {text}";
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return string.Empty;
        }
    }
}
