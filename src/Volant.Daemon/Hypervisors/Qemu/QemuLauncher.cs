using System.ComponentModel;
using System.Diagnostics.CodeAnalysis;
using System.Net.Sockets;
using System.Text;
using Volant.Contracts.Api;
using Volant.Linux.IO;
using Volant.Linux.Processes;

namespace Volant.Daemon.Hypervisors.Qemu;

/// <summary>Launches and adopts QEMU processes.</summary>
/// <param name="program">Path or name of the emulator; null to look for <see cref="QemuProbe.DefaultProgram"/>.</param>
/// <param name="clock">Measures the limits.</param>
/// <param name="logger">Told about the processes.</param>
internal sealed partial class QemuLauncher(string? program, TimeProvider clock, ILogger<QemuLauncher> logger) : IHypervisorLauncher
{
    private const int MaxLogTail = 2048;

    // Some 60 ms on an idle host; the rest is for hosts with far more VMs than processors.
    private static readonly TimeSpan GreetingLimit = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan AdoptionLimit = TimeSpan.FromSeconds(1);

    // Failures are not kept: installing the program later must help without a restart.
    private readonly Lazy<QemuHost> _host = new(() => QemuProbe.Probe(program), LazyThreadSafetyMode.PublicationOnly);

    /// <inheritdoc/>
    public HypervisorCapabilities Capabilities =>
        new("qemu", _host.Value.Version.ToString(), _host.Value.Kvm, _host.Value.Vsock);

    /// <inheritdoc/>
    public string KernelCommandLine(LaunchSpec spec) => QemuArguments.KernelCommandLine(spec, _host.Value);

    /// <inheritdoc/>
    /// <remarks>
    /// Returns when QEMU has answered on its control socket: arguments that it refuses, a disk in use or a missing tap are known by
    /// then. <paramref name="started"/> is called some 50 ms before that.
    /// </remarks>
    public async Task<VmProcess> LaunchAsync(LaunchSpec spec, Func<VmHandle, Task> started, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        var arguments = QemuArguments.Build(spec, _host.Value);
        BootFiles.CheckKernel(spec.Kernel);
        if (spec.Initramfs is { } initramfs)
        {
            BootFiles.CheckInitramfs(initramfs);
        }

        RemoveSockets(spec.Paths);
        var logStart = LengthOf(spec.Paths.HypervisorLog);
        var pid = Spawn(spec, arguments);

        // Our child: its id cannot change hands before it was waited for.
        if (ProcessIdentity.Find(pid) is not { } identity || PidFd.TryOpen(identity) is not { } descriptor)
        {
            // The first thread is dead, others may be about to: until they are, there is no exit status, and the zombie would stay.
            ProcessWait.Peek(pid);
            var exit = ProcessWait.Reap(pid);
            throw Failed(spec, new HypervisorExit(exit?.ExitCode, exit?.Signal, null), logStart);
        }

        var process = new QemuProcess(new VmHandle(spec.Uid, identity, spec.Paths), descriptor, null, clock, logger);
        try
        {
            await started(process.Handle);
            await process.WaitForControlAsync(GreetingLimit, cancellationToken);
            LogLaunched(spec.Uid, pid);
            return process;
        }
        catch (Exception e)
        {
            await process.KillNowAsync();
            await process.DisposeAsync();
            RemoveSockets(spec.Paths);
            throw e switch
            {
                // The only way to lose the connection before it was there: the process had ended by itself.
                QmpException => Failed(spec, await process.Exited, logStart),
                TimeoutException => new VolantException(
                    ErrorCodes.HypervisorUnavailable,
                    $"The hypervisor of VM {spec.Uid} did not answer on its control socket within {GreetingLimit.TotalSeconds:F0} s; " +
                    "the host is overloaded or the hypervisor hangs." + Tail(spec.Paths.HypervisorLog, logStart),
                    e),
                _ => e,
            };
        }
    }

    /// <inheritdoc/>
    /// <remarks>
    /// The process must be the recorded one (start time and boot id), run QEMU, carry the VM's identity on its command line, and serve
    /// the control socket. A socket that is missing, or does not answer within a second, delays and prevents nothing: the rest proves
    /// the identity, and a VM declared gone would have its address and its disk given away while it runs.
    /// </remarks>
    [SuppressMessage("Reliability", "CA2000", Justification = "The process object owns the connection.")]
    public async Task<VmProcess?> TryAdoptAsync(VmHandle handle, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        if (PidFd.TryOpen(handle.Process) is not { } descriptor)
        {
            return null;
        }

        if (!QemuIdentity.Matches(handle))
        {
            descriptor.Dispose();
            LogNotOurs(handle.Uid, handle.Process.Pid);
            return null;
        }

        if (!TryConnect(handle, out var control))
        {
            descriptor.Dispose();
            LogNotOurs(handle.Uid, handle.Process.Pid);
            return null;
        }

        var process = new QemuProcess(handle, descriptor, control, clock, logger);
        try
        {
            await process.WaitForControlAsync(AdoptionLimit, cancellationToken);
        }
        catch (Exception e) when (e is TimeoutException or QmpException)
        {
            LogSilent(e, handle.Uid, handle.Process.Pid);
        }
        catch
        {
            await process.DisposeAsync();
            throw;
        }

        return process;
    }

    /// <inheritdoc/>
    public IReadOnlyList<(Guid Uid, ProcessIdentity Process)> Discover(string runtimeDirectory) => QemuIdentity.FindBelow(runtimeDirectory);

    private static int Spawn(LaunchSpec spec, IReadOnlyList<string> arguments)
    {
        try
        {
            return ProcessSpawner.Spawn(new SpawnRequest
            {
                Arguments = arguments,
                WorkingDirectory = spec.Paths.Directory,
                OutputFile = spec.Paths.HypervisorLog,
            });
        }
        catch (Win32Exception e)
        {
            throw new VolantException(
                ErrorCodes.HypervisorUnavailable,
                $"The hypervisor '{arguments[0]}' could not be started in '{spec.Paths.Directory}': {e.Message}",
                e);
        }
    }

    /// <summary>Connects to the control socket without waiting; false when another process serves it.</summary>
    /// <param name="handle">The VM.</param>
    /// <param name="control">The connection; null when nobody listens, or when too many wait already.</param>
    [SuppressMessage("Reliability", "CA2000", Justification = "The stream owns the socket, and the caller the stream.")]
    private static bool TryConnect(VmHandle handle, out Stream? control)
    {
        control = null;
        var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified) { Blocking = false };
        try
        {
            socket.Connect(new UnixDomainSocketEndPoint(handle.Paths.ControlSocket));
            if (PeerCredentials.Of(socket).Pid != handle.Process.Pid)
            {
                socket.Dispose();
                return false;
            }

            socket.Blocking = true;
            control = new NetworkStream(socket, ownsSocket: true);
        }
        catch (Exception e) when (e is SocketException or ArgumentException)
        {
            socket.Dispose();
        }

        return true;
    }

    private static VolantException Failed(LaunchSpec spec, HypervisorExit exit, long logStart)
    {
        var how = exit switch
        {
            { Signal: { } signal } => $"signal {signal} ended it",
            { Code: { } code } => $"it exited with code {code}",
            _ => "it ended",
        };
        return new VolantException(
            ErrorCodes.HypervisorUnavailable,
            $"The hypervisor of VM {spec.Uid} did not start: {how}.{Tail(spec.Paths.HypervisorLog, logStart)}");
    }

    /// <summary>The last lines that this launch wrote to the log, as one line of printable text; empty when there are none.</summary>
    private static string Tail(string path, long start)
    {
        try
        {
            using var log = File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
            var from = Math.Max(start, RandomAccess.GetLength(log) - MaxLogTail);
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

    private static long LengthOf(string path) => new FileInfo(path) is { Exists: true } file ? file.Length : 0;

    private static void RemoveSockets(VmPaths paths)
    {
        File.Delete(paths.ControlSocket);
        File.Delete(paths.SerialSocket);
        File.Delete(paths.AgentSocket);
    }

    [LoggerMessage(2010, LogLevel.Information, "Launched VM {Vm}, hypervisor process {ProcessId}.")]
    private partial void LogLaunched(Guid vm, int processId);

    [LoggerMessage(2011, LogLevel.Warning, "Process {ProcessId} is not the hypervisor of VM {Vm}; it is left alone.")]
    private partial void LogNotOurs(Guid vm, int processId);

    [LoggerMessage(2012, LogLevel.Warning, "The hypervisor of VM {Vm}, process {ProcessId}, was adopted but does not answer yet.")]
    private partial void LogSilent(Exception exception, Guid vm, int processId);
}
