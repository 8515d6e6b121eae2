using System.Security.Cryptography;
using Volant.Contracts.Api;
using Volant.Contracts.Boot;
using Volant.Contracts.Manifests;
using Volant.Daemon.Guests;
using Volant.Daemon.Hypervisors;
using Volant.Daemon.Networking;
using Volant.Daemon.Plugins;
using Volant.Daemon.Store;
using Volant.Daemon.Telemetry;

namespace Volant.Daemon.Orchestration;

/// <summary>Owns every change of a VM's lifecycle.</summary>
/// <remarks>
/// Operations of one VM run one after another. They do not end with the request that caused them: the caller's token only stops the
/// caller from waiting.
/// </remarks>
internal sealed partial class VmOrchestrator(
    VolantStore store,
    PluginRegistry plugins,
    BootPreparation preparation,
    DiskPreparation disks,
    HostResources resources,
    IHypervisorLauncher launcher,
    VmOwners owners,
    VmSupervisor supervisor,
    GracefulEnd ending,
    Subnet subnet,
    TimeProvider clock,
    ILogger<VmOrchestrator> logger)
{
    /// <summary>How long a guest may take to power off when nobody says otherwise, in seconds.</summary>
    public const int DefaultGraceSeconds = 10;

    /// <summary>The same as a time.</summary>
    public static readonly TimeSpan DefaultGrace = TimeSpan.FromSeconds(DefaultGraceSeconds);

    /// <summary>Who asks when no client does.</summary>
    public const string Itself = "volantd";

    /// <summary>Records a VM and launches it; either it runs when this returns, or nothing of it is left.</summary>
    /// <param name="request">What is wanted.</param>
    /// <param name="cancellationToken">Stops the caller from waiting.</param>
    /// <param name="spawned">Called on any thread the moment the hypervisor's process exists; it must return quickly and not throw.</param>
    /// <exception cref="VolantException">The request is wrong, or the host cannot do it.</exception>
    /// <param name="replica">The deployment that it is made for.</param>
    public Task<Vm> CreateAsync(CreateVmRequest request, CancellationToken cancellationToken, Action? spawned = null, ReplicaOf? replica = null) =>
        TrackAsync("create", request.Name ?? string.Empty, () => CreateCoreAsync(request, spawned, replica)).WaitAsync(cancellationToken);

    /// <summary>Checks that many VMs of one configuration could be started now, and returns it as it is stored, and what it comes to.</summary>
    /// <exception cref="VolantException">They could not.</exception>
    public (VmConfig Config, LaunchPlan Plan) CheckConfig(VmConfig config)
    {
        var normal = LaunchPlan.Normalise(config);
        var plan = LaunchPlan.Resolve(normal, plugins.GetEnabled(LaunchPlan.PluginOf(normal)), HostMemoryMib);
        resources.ResolveDevices(plan);
        RequireVolumes(plan);
        _ = PoolOf(plan);
        return plan.Volumes.FirstOrDefault(volume => !volume.ReadOnly) is { } own
            ? throw new VolantException(ErrorCodes.InvalidRequest, $"Replicas cannot share volume '{own.Name}' while they may write to it; make it read-only, or a VM of its own.")
            {
                Fields = [new("config.volumes", $"'{own.Name}' must have readonly true in a deployment")],
            }
            : (normal, plan);
    }

    /// <summary>Starts a VM; does nothing when it runs.</summary>
    /// <param name="name">Name of the VM.</param>
    /// <param name="cancellationToken">Stops the caller from waiting.</param>
    /// <param name="precondition">Refuses, by throwing, when the VM is not what the caller thinks.</param>
    public Task<Vm> StartAsync(string name, CancellationToken cancellationToken, Action<VmRecord>? precondition = null) => InLaneAsync(
        "start", name, async owner => (owner.Run is null ? await StartInLaneAsync(owner, automatic: false) : store.FindVm(owner.Id)!).Vm, cancellationToken, precondition);

    /// <summary>Asks the guest to power off, and ends the hypervisor when it does not within <paramref name="grace"/>.</summary>
    /// <param name="name">Name of the VM.</param>
    /// <param name="grace">How long the guest may take.</param>
    /// <param name="cancellationToken">Stops the caller from waiting.</param>
    /// <param name="askedBy">Who asks, for the record.</param>
    /// <param name="precondition">Refuses, by throwing, when the VM is not what the caller thinks.</param>
    public Task<Vm> StopAsync(string name, TimeSpan grace, CancellationToken cancellationToken, string askedBy = Itself, Action<VmRecord>? precondition = null) =>
        InLaneAsync("stop", name, async owner => (await StopInLaneAsync(owner, grace, askedBy)).Vm, cancellationToken, precondition, patience: grace);

    /// <summary>Stops and starts a VM.</summary>
    /// <inheritdoc cref="StopAsync"/>
    public Task<Vm> RestartAsync(string name, TimeSpan grace, CancellationToken cancellationToken, string askedBy = Itself, Action<VmRecord>? precondition = null) => InLaneAsync(
        "restart",
        name,
        async owner =>
        {
            await StopInLaneAsync(owner, grace, askedBy);
            return (await StartInLaneAsync(owner, automatic: false)).Vm;
        },
        cancellationToken,
        precondition,
        patience: grace);

    /// <summary>Ends a VM and deletes everything that it owned.</summary>
    /// <inheritdoc cref="StartAsync"/>
    public Task DeleteAsync(string name, CancellationToken cancellationToken, Action<VmRecord>? precondition = null) => InLaneAsync(
        "delete",
        name,
        async owner =>
        {
            await DeleteInLaneAsync(owner);
            return true;
        },
        cancellationToken,
        precondition,
        patience: TimeSpan.Zero);

    /// <summary>Starts a VM as its restart policy said, unless somebody decided otherwise since.</summary>
    /// <param name="due">The VM as it was when the time came.</param>
    public Task StartAgainAsync(VmRecord due) => InLaneAsync(
        "start-again",
        due.Name,
        async owner =>
        {
            var vm = store.FindVm(owner.Id);
            if (owner.Id != due.Id || owner.Run is not null || vm is not { Deleting: false, Vm.Desired: DesiredState.Running } || vm.Vm.RestartAt != due.Vm.RestartAt)
            {
                return false;
            }

            await StartInLaneAsync(owner, automatic: true);
            return true;
        },
        CancellationToken.None);

    /// <summary>Writes the next version of a VM's configuration; it takes effect at the next start.</summary>
    /// <param name="name">Name of the VM.</param>
    /// <param name="expected">Whether the current version may be replaced.</param>
    /// <param name="change">Makes the next configuration out of the current one. Pure.</param>
    /// <param name="cancellationToken">Stops it before it begins.</param>
    /// <exception cref="VolantException"><c>vm_not_found</c>, <c>version_conflict</c>, or the result is not a configuration that could be started.</exception>
    public Task<VmConfigVersion> ChangeConfigAsync(string name, Func<int, bool> expected, Func<VmConfig, VmConfig> change, CancellationToken cancellationToken)
    {
        var owner = owners.Get(name);
        return store.ChangeConfigAsync(
            owner.Id,
            expected,
            current =>
            {
                var next = LaunchPlan.Normalise(change(current));
                var plan = LaunchPlan.Resolve(next, plugins.Get(LaunchPlan.PluginOf(next)), HostMemoryMib);
                if (owner.Deployment is null)
                {
                    resources.CheckPorts(plan, owner.Id);
                }

                RequireVolumes(plan);
                RequireRootImage(owner, current, plan);
                return next;
            },
            cancellationToken);
    }

    /// <summary>Waits until a VM is ready.</summary>
    /// <exception cref="VolantException"><c>timeout</c>, <c>vm_not_running</c>, or <c>agent_unreachable</c> when it ended before.</exception>
    public async Task<Vm> WaitReadyAsync(string name, TimeSpan timeout, CancellationToken cancellationToken)
    {
        var owner = owners.Get(name);
        var run = owners.GetRun(name);
        try
        {
            await run.Ready.Task.WaitAsync(timeout, clock, cancellationToken);
        }
        catch (TimeoutException e)
        {
            throw new VolantException(ErrorCodes.Timeout, $"VM '{name}' runs but was not ready within {timeout.TotalSeconds:0} s; see 'volar vms logs {name}'.", e);
        }

        return store.FindVm(owner.Id)?.Vm ?? throw VmOwners.NotFound(name);
    }

    private Task<T> TrackAsync<T>(string operation, string name, Func<Task<T>> run) =>
        Operations.TrackAsync(operation, name, logger, clock, run, e => (e as VolantException)?.Code ?? ErrorCodes.Internal);

    private async Task<Vm> CreateCoreAsync(CreateVmRequest request, Action? spawned, ReplicaOf? replica)
    {
        var accepted = clock.GetTimestamp();
        RejectAtOnce(request);
        var config = LaunchPlan.Merge(request);
        var plan = LaunchPlan.Resolve(config, plugins.GetEnabled(config.Plugin!), HostMemoryMib);
        var devices = resources.ResolveDevices(plan);
        var boot = await preparation.StageAsync(plan, CancellationToken.None);
        var images = await disks.StageAsync(plan, known: [], CancellationToken.None);
        Instruments.RecordBoot(clock, accepted, "prepare");
        using var ports = new PortReservation();
        resources.ReservePorts(ports, plan, vmId: null, isReplica: replica is not null);
        var vm = await store.InsertVmAsync(Describe(request.Name!, config, plan, devices, launcher.Capabilities) with { Replica = replica, Ports = ports.Leases, Disks = images }, CancellationToken.None);
        var owner = owners.Add(vm);
        try
        {
            await using var undo = new UndoStack(logger);
            undo.Push("forget VM", async _ =>
            {
                await store.DeleteVmAsync(vm.Id, "it could not be launched", CancellationToken.None);
                owners.Remove(owner);
            });
            undo.Push("release host resources", _ => resources.ReleaseAsync(vm, stays: false));
            vm = await BootAsync(owner, vm, plan, boot, spawned);
            undo.Commit();
            LogCreated(vm.Name, vm.Vm.Pid ?? 0, (long)clock.GetElapsedTime(accepted).TotalMilliseconds);
            return vm.Vm;
        }
        finally
        {
            owner.Lane.Release();
        }
    }

    private void RequireVolumes(LaunchPlan plan)
    {
        foreach (var volume in plan.Volumes)
        {
            _ = store.GetVolume(volume.Name);
        }
    }

    /// <summary>Refuses another root image for a VM whose root disk is made: what the guest wrote lies on the old one.</summary>
    private void RequireRootImage(VmOwner owner, VmConfig current, LaunchPlan next)
    {
        var rootfs = ManifestRules.NormaliseRootfs(current.Rootfs ?? (current.Manifest ?? plugins.Get(LaunchPlan.PluginOf(current))).Rootfs);
        if (rootfs != next.Rootfs && store.ListDisks(owner.Id).Any(disk => disk is { Name: PlannedDisk.Root, IsMade: true }))
        {
            throw new VolantException(
                ErrorCodes.Unsupported, $"The root disk of VM '{owner.Name}' is made from '{rootfs?.Url}' and holds what the guest wrote; create another VM to use another root image.")
            {
                Fields = [new("config.rootfs", "cannot be changed once the root disk is made")],
            };
        }
    }

    private void RejectAtOnce(CreateVmRequest request)
    {
        var faults = VmConfigRules.ValidateRequest(request);
        if (faults.Count > 0)
        {
            throw new VolantException(ErrorCodes.InvalidRequest, $"The request is not valid: {string.Join("; ", faults.Select(fault => $"{fault.Path} {fault.Message}"))}.") { Fields = faults };
        }

        if (store.FindVm(request.Name!) is not null)
        {
            throw new VolantException(ErrorCodes.VmExists, $"A VM named '{request.Name}' already exists; choose another name or delete it first.");
        }
    }

    private NewVm Describe(string name, VmConfig config, LaunchPlan plan, IReadOnlyList<string> devices, HypervisorCapabilities capabilities)
    {
        var uid = Guid.CreateVersion7();
        var paths = resources.PathsOf(uid);
        return new NewVm
        {
            Uid = uid,
            Name = name,
            Plugin = config.Plugin!,
            Runtime = plan.Runtime,
            Hypervisor = capabilities.Name,
            NetworkMode = plan.NetworkMode,
            MacAddress = MacOf(plan, uid),
            Addresses = PoolOf(plan),
            CpuCores = plan.CpuCores,
            MemoryMib = plan.MemoryMib,
            KernelCmdline = plan.KernelWords ?? string.Empty,
            LinkKey = RandomNumberGenerator.GetBytes(GuestLink.KeyLength),
            Directory = paths.Directory,
            SerialSocket = paths.SerialSocket,
            Config = config,
            Resources = resources.Needed(uid, plan, devices),
            Devices = devices,
            Volumes = plan.Volumes,
        };
    }

    private async Task<VmRecord> StartInLaneAsync(VmOwner owner, bool automatic)
    {
        var vm = store.FindVm(owner.Id)!;
        LaunchPlan plan;
        StagedBoot boot;
        using var ports = new PortReservation();
        try
        {
            var config = store.GetConfig(vm.Id);
            plan = LaunchPlan.Resolve(config, plugins.GetEnabled(LaunchPlan.PluginOf(config)), HostMemoryMib);
            var devices = resources.ResolveDevices(plan);
            boot = await preparation.StageAsync(plan, CancellationToken.None);
            var images = await disks.StageAsync(plan, store.ListDisks(vm.Id), CancellationToken.None);
            resources.ReservePorts(ports, plan, vm.Id, vm.Vm.Deployment is not null);
            vm = await store.BeginStartAsync(vm.Id, DescribeStart(vm, plan, devices, automatic) with { Ports = ports.Leases, Disks = images }, CancellationToken.None);
        }
        catch (Exception e)
        {
            var next = automatic ? supervisor.DecideRestart(vm, crashed: true, TimeSpan.Zero) : new RestartDecision(null, 0, GaveUp: false);
            await store.SetStartFailureAsync(vm.Id, $"it could not be started: {e.Message}", clock.GetUtcNow() + next.Delay, next.Attempts, CancellationToken.None);
            throw;
        }

        try
        {
            return await BootAsync(owner, vm, plan, boot);
        }
        catch (Exception e)
        {
            // Settling releases all that the launch made.
            await supervisor.SettleAsync(vm, VmStatus.Crashed, new VmExit { At = clock.GetUtcNow(), Reason = $"it could not be launched: {e.Message}" }, automatic ? TimeSpan.Zero : null);
            throw;
        }
    }

    private NewStart DescribeStart(VmRecord vm, LaunchPlan plan, IReadOnlyList<string> devices, bool automatic) => new()
    {
        Plugin = plan.Plugin,
        Runtime = plan.Runtime,
        NetworkMode = plan.NetworkMode,
        MacAddress = MacOf(plan, vm.Vm.Uid),
        Addresses = PoolOf(plan),
        CpuCores = plan.CpuCores,
        MemoryMib = plan.MemoryMib,
        KernelCmdline = plan.KernelWords ?? string.Empty,
        Resources = resources.Needed(vm.Vm.Uid, plan, devices),
        Devices = devices,
        Volumes = plan.Volumes,
        Automatic = automatic,
    };

    private static string? MacOf(LaunchPlan plan, Guid uid) => plan.NetworkMode == NetworkModes.Vsock ? null : MacAddress.FromUid(uid).ToString();

    /// <summary>The common end of create and start: host resources, hypervisor, supervision. The record is in status starting.</summary>
    private async Task<VmRecord> BootAsync(VmOwner owner, VmRecord vm, LaunchPlan plan, StagedBoot boot, Action? spawned = null)
    {
        var began = clock.GetTimestamp();
        var paths = resources.PathsOf(vm.Vm.Uid);
        var nic = await resources.AcquireAsync(vm, plan, paths, CancellationToken.None);
        Instruments.RecordBoot(clock, began, "network");
        var making = clock.GetTimestamp();
        var attached = await disks.MakeAsync(vm, plan);
        Instruments.RecordBoot(clock, making, "disks");
        var spec = preparation.Specify(vm, plan, boot, paths, nic, attached, launcher);
        var launched = clock.GetTimestamp();
        var process = await launcher.LaunchAsync(spec, RecordAsync, CancellationToken.None);
        Instruments.RecordBoot(clock, launched, "launch");
        vm = await store.SetStatusAsync(vm.Id, VmStatus.Running, desired: null, CancellationToken.None);
        supervisor.Watch(owner, vm, process, EndpointOf(vm, process), launched);
        return vm;

        Task RecordAsync(VmHandle handle)
        {
            spawned?.Invoke();
            return store.SetProcessAsync(vm.Id, handle.Process, CancellationToken.None);
        }
    }

    private async Task<VmRecord> StopInLaneAsync(VmOwner owner, TimeSpan grace, string askedBy)
    {
        if (owner.Run is not { } run)
        {
            return await store.SettleStoppedAsync(owner.Id, CancellationToken.None);
        }

        run.StopAskedBy = askedBy;
        run.IsReady = false;
        await store.SetStatusAsync(owner.Id, VmStatus.Stopping, DesiredState.Stopped, CancellationToken.None, askedBy);
        await ending.EndAsync(run, owner.Name, grace);
        return await supervisor.EndRunAsync(owner, run);
    }

    private async Task DeleteInLaneAsync(VmOwner owner)
    {
        if (store.FindVm(owner.Id) is not { } vm)
        {
            owners.Remove(owner);
            return;
        }

        owner.Run?.IsReady = false;
        await store.BeginDeleteAsync(vm.Id, CancellationToken.None);
        if (owner.Run is { } run)
        {
            run.StopAskedBy = Itself;
            await run.Process.KillAsync();
            owner.Run = null;
            await run.DisposeAsync();
            run.Ready.TrySetException(new VolantException(ErrorCodes.VmNotFound, $"VM '{vm.Name}' was deleted."));
            _ = run.Ready.Task.Exception;
        }

        await resources.ReleaseAsync(vm, stays: false);
        await store.DeleteVmAsync(vm.Id, message: null, CancellationToken.None);
        owners.Remove(owner);
        LogDeleted(vm.Name);
    }

    private static GuestEndpoint EndpointOf(VmRecord vm, VmProcess process) => process.AgentLink switch
    {
        AgentLink.Vsock => new GuestEndpoint.Vsock(vm.Vm.VsockCid, GuestLink.VsockPort),
        AgentLink.VsockSocket => new GuestEndpoint.HybridVsock(process.Handle.Paths.AgentSocket, GuestLink.VsockPort),
        _ => new GuestEndpoint.SerialPort(process.Handle.Paths.AgentSocket, vm.LinkKey),
    };

    /// <summary>Runs an operation as the owner's only one, to its end, whether or not the caller still waits.</summary>
    /// <param name="operation">What it is called.</param>
    /// <param name="name">Name of the VM.</param>
    /// <param name="run">The operation.</param>
    /// <param name="cancellationToken">Stops the caller from waiting.</param>
    /// <param name="precondition">Refuses, by throwing, when the VM is not what the caller thinks.</param>
    /// <param name="patience">How much longer a stop that is under way may take, because this operation ends the VM, too; null when it does not.</param>
    private Task<T> InLaneAsync<T>(
        string operation, string name, Func<VmOwner, Task<T>> run, CancellationToken cancellationToken, Action<VmRecord>? precondition = null, TimeSpan? patience = null)
    {
        var owner = owners.Get(name);
        if (patience is { } left && owner.Run is { StopAskedBy: not null } stopping)
        {
            if (store.FindVm(owner.Id) is { } seen)
            {
                precondition?.Invoke(seen);
            }

            stopping.EndWithin(left, clock);
        }

        return TrackAsync(operation, name, RunAsync).WaitAsync(cancellationToken);

        async Task<T> RunAsync()
        {
            try
            {
                if (Interlocked.Increment(ref owner.Operations) > VmOwner.MaxOperations)
                {
                    throw new VolantException(ErrorCodes.VmBusy, $"{VmOwner.MaxOperations} operations wait for VM '{name}' already; try again when they are done.");
                }

                await owner.Lane.WaitAsync(CancellationToken.None);
                try
                {
                    // Deleted and perhaps made again while this operation waited.
                    if (owners.Get(name) != owner)
                    {
                        throw new VolantException(ErrorCodes.VmNotFound, $"VM '{name}' was deleted.");
                    }

                    if (precondition is not null && store.FindVm(owner.Id) is { } vm)
                    {
                        precondition(vm);
                    }

                    return await run(owner);
                }
                finally
                {
                    owner.Lane.Release();
                }
            }
            finally
            {
                Interlocked.Decrement(ref owner.Operations);
            }
        }
    }

    private static long HostMemoryMib { get; } = GC.GetGCMemoryInfo().TotalAvailableMemoryBytes >> 20;

    [LoggerMessage(EventId = 1001, Level = LogLevel.Information, Message = "VM {Vm} is running, hypervisor process {ProcessId}, launched {ElapsedMs} ms after the request")]
    private partial void LogCreated(string vm, int processId, long elapsedMs);

    [LoggerMessage(EventId = 1005, Level = LogLevel.Information, Message = "VM {Vm} is deleted")]
    private partial void LogDeleted(string vm);
}
