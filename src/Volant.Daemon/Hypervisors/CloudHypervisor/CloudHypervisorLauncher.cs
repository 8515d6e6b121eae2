using System.Net.Sockets;
using Volant.Linux.Processes;

namespace Volant.Daemon.Hypervisors.CloudHypervisor;

/// <summary>Launches and adopts Cloud Hypervisor processes.</summary>
/// <param name="program">Path or name of the program; null to look for <see cref="CloudHypervisorProbe.DefaultProgram"/>.</param>
/// <param name="clock">Measures the limits.</param>
/// <param name="logger">Told about the processes.</param>
internal sealed partial class CloudHypervisorLauncher(string? program, TimeProvider clock, ILogger<CloudHypervisorLauncher> logger) : IHypervisorLauncher
{
    // As long as QEMU has: an idle host needs some 10 ms.
    private static readonly TimeSpan AnswerLimit = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan AdoptionLimit = TimeSpan.FromSeconds(1);

    private readonly HypervisorIdentity _processes = CloudHypervisorArguments.Processes(program);

    // Failures are not kept: installing the program later must help without a restart.
    private readonly Lazy<CloudHypervisorHost> _host = new(() => CloudHypervisorProbe.Probe(program), LazyThreadSafetyMode.PublicationOnly);

    /// <inheritdoc/>
    public HypervisorCapabilities Capabilities => new("cloud-hypervisor", _host.Value.Version.ToString(), _host.Value.Kvm, Vsock: true);

    /// <inheritdoc/>
    public string KernelCommandLine(LaunchSpec spec) => VmConfigBuilder.KernelCommandLine(spec);

    /// <inheritdoc/>
    /// <remarks>An empty monitor is started, told what to run, and told to run it: its refusals come back in its own words.</remarks>
    public async Task<VmProcess> LaunchAsync(LaunchSpec spec, Func<VmHandle, Task> started, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        var body = VmConfigBuilder.Build(spec, _host.Value);
        var arguments = CloudHypervisorArguments.Build(spec.Paths, _host.Value);
        var attempt = new LaunchAttempt(spec, SocketAccess.LocalAndDatagrams);
        File.Delete(spec.Paths.EventLog);
        var (handle, descriptor) = attempt.Spawn(arguments);
        var process = new CloudHypervisorProcess(handle, descriptor, clock, logger);
        try
        {
            await started(handle);
            await process.WaitForControlAsync(AnswerLimit, cancellationToken);
            await process.BootAsync(body, spec.Nic, AnswerLimit, cancellationToken);
            LogLaunched(spec.Uid, handle.Process.Pid);
            return process;
        }
        catch (Exception e)
        {
            var gone = process.Exited.IsCompleted;
            await process.KillAsync();
            await process.DisposeAsync();
            attempt.RemoveSockets();
            throw e switch
            {
                CloudHypervisorException when gone => attempt.Failed(await process.Exited),
                CloudHypervisorException => attempt.Refused(e),
                TimeoutException => attempt.Silent(AnswerLimit, e),
                _ => e,
            };
        }
    }

    /// <inheritdoc/>
    /// <remarks>
    /// The process must be the recorded one, run Cloud Hypervisor and name this VM's socket. One that says that it runs no VM was being started
    /// when its daemon ended: it is ended. One that says nothing within a second is adopted: a VM declared gone would have its address and its
    /// disk given away while it runs.
    /// </remarks>
    public async Task<VmProcess?> TryAdoptAsync(VmHandle handle, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        if (PidFd.TryOpen(handle.Process) is not { } descriptor)
        {
            return null;
        }

        if (!_processes.Matches(handle))
        {
            descriptor.Dispose();
            LogNotOurs(handle.Uid, handle.Process.Pid);
            return null;
        }

        var process = new CloudHypervisorProcess(handle, descriptor, clock, logger);
        try
        {
            await process.WaitForControlAsync(AdoptionLimit, cancellationToken);
            if (await process.QueryStateAsync(cancellationToken) is not ("Running" or "Paused"))
            {
                throw new CloudHypervisorException("It runs no VM.");
            }
        }
        catch (TimeoutException e)
        {
            LogSilent(e, handle.Uid, handle.Process.Pid);
        }
        catch (CloudHypervisorException e)
        {
            LogIdle(e, handle.Uid, handle.Process.Pid);
            await process.KillAsync();
            await process.DisposeAsync();
            return null;
        }
        catch
        {
            await process.DisposeAsync();
            throw;
        }

        try
        {
            process.StartRecorder();
        }
        catch (SocketException e)
        {
            LogNoConsole(e, handle.Uid);
        }

        return process;
    }

    /// <inheritdoc/>
    public IReadOnlyList<(Guid Uid, ProcessIdentity Process)> Discover(string runtimeDirectory) => _processes.FindBelow(runtimeDirectory);

    [LoggerMessage(2110, LogLevel.Information, "Launched VM {Vm}, hypervisor process {ProcessId}.")]
    private partial void LogLaunched(Guid vm, int processId);

    [LoggerMessage(2111, LogLevel.Warning, "Process {ProcessId} is not the hypervisor of VM {Vm}; it is left alone.")]
    private partial void LogNotOurs(Guid vm, int processId);

    [LoggerMessage(2112, LogLevel.Warning, "The hypervisor of VM {Vm}, process {ProcessId}, was adopted but does not answer yet.")]
    private partial void LogSilent(Exception exception, Guid vm, int processId);

    [LoggerMessage(2113, LogLevel.Warning, "The hypervisor of VM {Vm}, process {ProcessId}, runs no VM and is ended.")]
    private partial void LogIdle(Exception exception, Guid vm, int processId);

    [LoggerMessage(2114, LogLevel.Warning, "The console of VM {Vm} cannot be recorded.")]
    private partial void LogNoConsole(Exception exception, Guid vm);
}
