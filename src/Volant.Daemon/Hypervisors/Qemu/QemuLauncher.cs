using System.Diagnostics.CodeAnalysis;
using System.Net.Sockets;
using Volant.Linux.IO;
using Volant.Linux.Processes;

namespace Volant.Daemon.Hypervisors.Qemu;

/// <summary>Launches and adopts QEMU processes.</summary>
/// <param name="program">Path or name of the emulator; null to look for <see cref="QemuProbe.DefaultProgram"/>.</param>
/// <param name="clock">Measures the limits.</param>
/// <param name="logger">Told about the processes.</param>
internal sealed partial class QemuLauncher(string? program, TimeProvider clock, ILogger<QemuLauncher> logger) : IHypervisorLauncher
{
    /// <summary>What QEMU keeps of translated code is up to 1 GiB (QEMU, accel/tcg/region.c); the rest is its other memory.</summary>
    private const int EmulationOverheadMib = 1280;

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
        var attempt = new LaunchAttempt(spec, SocketAccess.Local, _host.Value.Kvm ? 0 : EmulationOverheadMib);
        var (handle, descriptor) = attempt.Spawn(arguments);
        var process = new QemuProcess(handle, descriptor, null, QemuIdentity.LinkOf(arguments), clock, logger);
        try
        {
            await started(handle);
            await process.WaitForControlAsync(GreetingLimit, cancellationToken);
            LogLaunched(spec.Uid, handle.Process.Pid);
            return process;
        }
        catch (Exception e)
        {
            await process.KillNowAsync();
            await process.DisposeAsync();
            attempt.RemoveSockets();
            throw e switch
            {
                // The only way to lose the connection before it was there: the process had ended by itself.
                QmpException => attempt.Failed(await process.Exited),
                TimeoutException => attempt.Silent(GreetingLimit, e),
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

        if (!QemuIdentity.Processes.Matches(handle))
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

        var process = new QemuProcess(handle, descriptor, control, QemuIdentity.LinkOf(ProcessIdentity.CommandLine(handle.Process.Pid)), clock, logger);
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
    public IReadOnlyList<(Guid Uid, ProcessIdentity Process)> Discover(string runtimeDirectory) => QemuIdentity.Processes.FindBelow(runtimeDirectory);

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

    [LoggerMessage(2010, LogLevel.Information, "Launched VM {Vm}, hypervisor process {ProcessId}.")]
    private partial void LogLaunched(Guid vm, int processId);

    [LoggerMessage(2011, LogLevel.Warning, "Process {ProcessId} is not the hypervisor of VM {Vm}; it is left alone.")]
    private partial void LogNotOurs(Guid vm, int processId);

    [LoggerMessage(2012, LogLevel.Warning, "The hypervisor of VM {Vm}, process {ProcessId}, was adopted but does not answer yet.")]
    private partial void LogSilent(Exception exception, Guid vm, int processId);
}
