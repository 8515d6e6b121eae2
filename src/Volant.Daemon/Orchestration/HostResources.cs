using System.Net;
using Volant.Contracts.Manifests;
using Volant.Daemon.Hypervisors;
using Volant.Daemon.Networking;
using Volant.Daemon.Store;
using Volant.Linux.Processes;

namespace Volant.Daemon.Orchestration;

/// <summary>
/// The single list of what a VM holds on the host. Create, start, stop, destroy and recovery all go through it: a kind that is added
/// here is recorded, released and swept everywhere.
/// </summary>
/// <remarks>A kind is recorded in the store before it is made, and forgotten after it is gone. Releasing is idempotent.</remarks>
internal sealed class HostResources(VolantStore store, IHostNetwork network, DevicePassthrough devices, PublishedPorts ports, DaemonOptions options)
{
    /// <summary>The hypervisor; its name is the VM's identity.</summary>
    public const string Process = "process";

    /// <summary>The tap interface.</summary>
    public const string Tap = "tap";

    /// <summary>What listens on the host for the VM; its leases in the store live as long as the VM.</summary>
    public const string Ports = "ports";

    /// <summary>The control group of the hypervisor.</summary>
    public const string Group = "group";

    /// <summary>The PCI devices that are bound to vfio-pci; its name lists them.</summary>
    public const string Devices = "devices";

    /// <summary>The volumes that a run holds; its name lists them.</summary>
    public const string Volumes = "volumes";

    /// <summary>The runtime directory with its sockets and the private initramfs.</summary>
    public const string Directory = "directory";

    /// <summary>The log directory; lives as long as the VM.</summary>
    public const string Logs = "logs";

    /// <summary>The directory with the VM's own disks and its cloud-init seed; lives as long as the VM.</summary>
    public const string Disks = "disks";

    /// <summary>Order of release: the hypervisor must be gone before anything that it uses.</summary>
    private static readonly string[] ReleaseOrder = [Ports, Process, Group, Devices, Volumes, Tap, Directory, Logs, Disks];

    /// <summary>What the end of a run leaves alone, because it belongs to the VM and not to the run.</summary>
    private static readonly string[] Lasting = [Logs, Disks];

    /// <summary>The files of a VM.</summary>
    public VmPaths PathsOf(Guid uid) => new(Path.Combine(options.RuntimeDirectory, uid.ToString("D")), LogsOf(uid));

    /// <summary>Where a VM's control group is; null when none are used.</summary>
    public static string? GroupOf(DaemonOptions options, Guid uid) => options.ControlGroup is { } parent ? Path.Combine(parent, uid.ToString("D")) : null;

    /// <summary>Whether a process of the VM's control group was ended because its memory was used up.</summary>
    public bool RanOutOfMemory(Guid uid) => GroupOf(options, uid) is { } group && ResourceGroup.RanOutOfMemory(group);

    /// <summary>Where a VM's own disks lie.</summary>
    public string DisksOf(Guid uid) => Path.Combine(options.DiskDirectory, uid.ToString("D"));

    /// <summary>The PCI devices that a start of a plan leases: those that it names, and the others of their IOMMU groups.</summary>
    /// <exception cref="VolantException">They cannot be passed through now; nothing was changed.</exception>
    public IReadOnlyList<string> ResolveDevices(LaunchPlan plan) => devices.Resolve(plan);

    /// <summary>What a start of this VM will hold.</summary>
    /// <param name="uid">Identity of the VM.</param>
    /// <param name="plan">The plan of the start.</param>
    /// <param name="leased">What <see cref="ResolveDevices"/> answered.</param>
    public IReadOnlyList<HostResource> Needed(Guid uid, LaunchPlan plan, IReadOnlyList<string> leased)
    {
        var paths = PathsOf(uid);
        List<HostResource> needed = [new(Process, uid.ToString("D")), new(Ports, uid.ToString("D")), new(Directory, paths.Directory), new(Logs, LogsOf(uid))];
        if (plan.NetworkMode != NetworkModes.Vsock)
        {
            needed.Add(new HostResource(Tap, LinuxBridgeNetwork.TapNameFor(uid)));
        }

        if (GroupOf(options, uid) is { } group)
        {
            needed.Add(new HostResource(Group, group));
        }

        if (leased.Count > 0)
        {
            needed.Add(new HostResource(Devices, string.Join(' ', leased)));
        }

        if (plan.Volumes.Count > 0)
        {
            needed.Add(new HostResource(Volumes, string.Join(' ', plan.Volumes.Select(volume => volume.Name))));
        }

        if (plan.HasDiskFiles)
        {
            needed.Add(new HostResource(Disks, DisksOf(uid)));
        }

        return needed;
    }

    /// <summary>Holds the ports that a VM publishes, before anything is recorded or made; a replica's are its deployment's.</summary>
    /// <exception cref="VolantException"><c>port_in_use</c>, or the host cannot open one.</exception>
    public void ReservePorts(PortReservation reservation, LaunchPlan plan, long? vmId, bool isReplica)
    {
        if (!isReplica)
        {
            ports.Reserve(reservation, plan.Expose, plan.NetworkMode, route => route.VmId is { } id && id == vmId && !route.Manual);
        }
    }

    /// <summary>Refuses a configuration of a VM that names a port which somebody else has.</summary>
    /// <exception cref="VolantException"><c>port_in_use</c>.</exception>
    public void CheckPorts(LaunchPlan plan, long vmId) => ports.Check(plan.Expose, vmId);

    /// <summary>Opens again what ended with an earlier daemon, for a VM that went on.</summary>
    public void Reopen(VmRecord vm) => ports.ReopenVm(vm);

    /// <summary>Makes the directories and the tap, opens the ports and binds the devices. After a failure <see cref="ReleaseAsync(VmRecord, bool)"/> removes what was made.</summary>
    public async Task<NicSpec?> AcquireAsync(VmRecord vm, LaunchPlan plan, VmPaths paths, CancellationToken cancellationToken)
    {
        System.IO.Directory.CreateDirectory(paths.Directory, OwnerOnly);
        System.IO.Directory.CreateDirectory(LogsOf(vm.Vm.Uid), OwnerOnly);
        if (plan.HasDiskFiles)
        {
            System.IO.Directory.CreateDirectory(DisksOf(vm.Vm.Uid), OwnerOnly);
        }

        if (GroupOf(options, vm.Vm.Uid) is { } group)
        {
            ResourceGroup.Prepare(options.ControlGroup!);
            System.IO.Directory.CreateDirectory(group);
        }

        ports.OpenVm(vm);
        var nic = GuestOf(vm) is { } guest ? new NicSpec(await network.AttachAsync(Owned(guest, vm), cancellationToken), vm.Vm.MacAddress) : null;
        if (plan.Devices.Count > 0)
        {
            await devices.AcquireAsync(vm.Id);
        }

        return nic;
    }

    /// <summary>Puts the tap of a VM that runs right, and what its guest may send.</summary>
    /// <exception cref="VolantException"><c>network_unavailable</c>.</exception>
    public Task RepairNetworkAsync(VmRecord vm) => GuestOf(vm) is { } guest ? network.AttachAsync(Owned(guest, vm), CancellationToken.None) : Task.CompletedTask;

    /// <summary>The tap belongs to the user that the hypervisor runs as.</summary>
    private AttachedGuest Owned(AttachedGuest guest, VmRecord vm) => guest with { Owner = options.VmUserOf(vm.Id)?.Uid };

    /// <summary>What the network must know of a VM; null when it has no tap.</summary>
    public static AttachedGuest? GuestOf(VmRecord vm) => vm.Vm.NetworkMode == NetworkModes.Vsock ? null
        : new AttachedGuest(vm.Vm.Uid, vm.Name, [.. new[] { vm.Vm.IpAddress, vm.Vm.Ipv6Address }.Where(address => !string.IsNullOrEmpty(address)).Select(address => IPAddress.Parse(address!))]);

    /// <summary>Whom guests with a fixed address ask for names; null when the host answers none.</summary>
    public IPAddress? NameServer => network.ServesGuests ? options.HostIp : null;

    /// <summary>Whether a VM with a plan gets an address of the pool; else it has none, or gets one from somebody else's DHCP server.</summary>
    public bool LeasesAddress(LaunchPlan plan) => plan.NetworkMode == NetworkModes.Bridged || (plan.NetworkMode == NetworkModes.Dhcp && network.ServesGuests);

    /// <summary>Whether a VM's address is the one that its guest says it has.</summary>
    public bool LearnsAddress(VmRecord vm) => vm.Vm.NetworkMode == NetworkModes.Dhcp && !network.ServesGuests;

    /// <summary>Releases what a VM holds; its hypervisor is proven dead first.</summary>
    /// <param name="vm">The VM.</param>
    /// <param name="stays">Whether the VM stays, and with it its logs and disks.</param>
    public async Task ReleaseAsync(VmRecord vm, bool stays)
    {
        var held = store.ListResources(vm.Id).ToDictionary(resource => resource.Kind, StringComparer.Ordinal);
        var gone = new List<string>();
        foreach (var kind in ReleaseOrder)
        {
            if (held.TryGetValue(kind, out var resource) && !(stays && Lasting.Contains(kind, StringComparer.Ordinal)))
            {
                await ReleaseAsync(vm, resource);
                gone.Add(kind);
            }
        }

        // The clean-up must go on whatever became of the request that caused it.
        if (gone.Count > 0)
        {
            await store.DeleteResourcesAsync(vm.Id, gone, CancellationToken.None);
        }
    }

    private async Task ReleaseAsync(VmRecord vm, HostResource resource)
    {
        switch (resource.Kind)
        {
            case Ports:
                await ports.CloseVmAsync(vm.Id);
                break;
            case Process:
                await ProveDeadAsync(store.FindVm(vm.Id)?.Process ?? vm.Process);
                break;
            case Group:
                await ResourceGroup.RemoveAsync(resource.Name);
                break;
            case Devices:
                await devices.ReleaseAsync(vm.Id);
                break;
            case Volumes:
                await store.ReleaseVolumesAsync(vm.Id, CancellationToken.None);
                break;
            case Tap:
                await network.DetachAsync(resource.Name, CancellationToken.None);
                break;
            case Directory:
            case Logs:
            case Disks:
                DeleteDirectory(resource.Name);
                break;
            default:
                throw new InvalidOperationException($"Unknown kind of host resource '{resource.Kind}'.");
        }
    }

    /// <summary>Ends a hypervisor by its identity and waits until it is gone; a process that does not match is never touched.</summary>
    public static async Task ProveDeadAsync(ProcessIdentity? identity)
    {
        if (identity is null)
        {
            return;
        }

        using var process = PidFd.TryOpen(identity);
        if (process is not null && process.Signal(SigKill))
        {
            await ProcessExitWatcher.WaitForExitAsync(process);
        }
    }

    private string LogsOf(Guid uid) => Path.Combine(options.LogDirectory, uid.ToString("D"));

    /// <summary>Removes a directory of a VM; only below our own roots, and never through a link.</summary>
    private void DeleteDirectory(string path)
    {
        var parent = Path.GetDirectoryName(path);
        if (parent != options.RuntimeDirectory && parent != options.LogDirectory && parent != options.DiskDirectory)
        {
            throw new InvalidOperationException($"'{path}' is not a directory of a VM.");
        }

        if (System.IO.Directory.Exists(path))
        {
            System.IO.Directory.Delete(path, recursive: true);
        }
    }

    private const int SigKill = 9;
    private const UnixFileMode OwnerOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;
}
