using System.Globalization;
using Volant.Contracts;
using Volant.Contracts.Api;
using Volant.Contracts.Manifests;
using Volant.Daemon.Devices;
using Volant.Daemon.Store;

namespace Volant.Daemon.Orchestration;

/// <summary>Takes PCI devices from the host and gives them back: for VMs, and on request of clients (contract §2, VFIO).</summary>
/// <remarks>
/// A device is leased in the store before its driver is touched, and the lease is forgotten after the driver that it had took it back. A
/// device that a client bound stays bound when a VM that used it ends. Drivers are changed one after another.
/// </remarks>
internal sealed partial class DevicePassthrough(PciBus bus, VfioBinder binder, VolantStore store, DaemonOptions options, ILogger<DevicePassthrough> logger) : IDisposable
{
    private readonly SemaphoreSlim _gate = new(1, 1);

    /// <summary>The devices that a start of a plan leases: those that it names, and the others of their IOMMU groups.</summary>
    /// <exception cref="VolantException">They cannot be passed through now; every fault is in the message.</exception>
    public IReadOnlyList<string> Resolve(LaunchPlan plan) => plan.Devices.Count == 0 ? [] : Resolve(plan.Devices, plan.DeviceAllowlist, "devices.pci_passthrough");

    /// <summary>Binds the devices that a VM has leased.</summary>
    /// <exception cref="VolantException">One cannot be bound; none is then.</exception>
    public Task AcquireAsync(long vmId) => AloneAsync(() => BindAsync([.. store.ListDeviceLeases().Where(lease => lease.VmId == vmId)]));

    /// <summary>Gives back the devices of a VM whose hypervisor is proven dead. Idempotent.</summary>
    /// <exception cref="VolantException">vfio-pci still has one; the leases stay.</exception>
    public Task ReleaseAsync(long vmId) => AloneAsync(async () =>
    {
        await RestoreAsync([.. store.ListDeviceLeases().Where(lease => lease.VmId == vmId && !lease.Pinned)]);

        // The clean-up must go on whatever became of the request that caused it.
        await store.ReleaseDevicesAsync(vmId, CancellationToken.None);
        return true;
    });

    /// <summary>Forgets what clients bound and what is not bound any more: the host was restarted, or the daemon ended half-way.</summary>
    public Task RecoverAsync() => AloneAsync(async () =>
    {
        foreach (var lease in store.ListDeviceLeases().Where(lease => lease.VmId is null))
        {
            try
            {
                if (bus.FindDevice(PciAddress.Parse(lease.Address))?.Driver != VfioBinder.Driver)
                {
                    await RestoreAsync([lease]);
                    await store.UnpinDevicesAsync([lease.Address], CancellationToken.None);
                }
            }
            catch (VolantException e)
            {
                // The lease stays, and with it the way to unbind the device by hand.
                LogRecoverFailed(e, lease.Address);
            }
        }

        return true;
    });

    /// <summary>A device of the host.</summary>
    /// <exception cref="VolantException"><c>invalid_request</c> or <c>device_not_found</c>.</exception>
    public VfioDeviceInfo GetInfo(VfioDeviceRequest request)
    {
        Reject(DeviceRules.Validate(request));
        var device = Get(request.PciAddress!);
        return new VfioDeviceInfo
        {
            Address = device.Address.ToString(),
            Vendor = device.Vendor,
            Device = device.Device,
            Driver = device.Driver ?? string.Empty,
            IommuGroup = device.Group is { } group ? Number(group) : string.Empty,
            NumaNode = Number(device.NumaNode ?? -1),
        };
    }

    /// <summary>Whether devices could be bound now, and everything that stands against it.</summary>
    public VfioValidation Validate(VfioDevicesRequest request)
    {
        Reject(DeviceRules.Validate(request));
        var plan = Plan(request.PciAddresses!, request.Allowlist ?? []);
        var holders = store.ListDeviceHolders();
        List<string> errors =
        [
            .. plan.Faults.Select(fault => Describe(fault, request.PciAddresses!)),
            .. from device in plan.Devices let address = device.Address.ToString() where holders.ContainsKey(address) select $"{address} is held by VM '{holders[address]}'",
        ];
        return errors.Count > 0
            ? new VfioValidation { Valid = false, Message = "The devices cannot be passed through.", Errors = errors }
            : new VfioValidation { Valid = true, Message = $"Binding takes {string.Join(", ", plan.Devices)} from the host." };
    }

    /// <summary>The IOMMU groups of some devices, or of the whole host.</summary>
    /// <exception cref="VolantException"><c>unsupported</c>: no IOMMU; <c>device_not_found</c>.</exception>
    public IReadOnlyList<VfioGroup> ListGroups(VfioDevicesRequest request)
    {
        Reject(DeviceRules.Validate(request, required: false));
        var groups = request.PciAddresses is { Count: > 0 } addresses
            ? addresses.Select(address => GroupOf(Get(address))).Distinct().Select(group => bus.FindGroup(group)).OfType<IommuGroup>()
            : bus.HasIommu ? bus.ListGroups() : throw WithoutIommu(null);
        return [.. groups.Select(group => new VfioGroup { Id = Number(group.Id), Devices = group.Members })];
    }

    /// <summary>Node of each group, for a hypervisor.</summary>
    /// <exception cref="VolantException"><c>device_not_bound</c>; <c>device_unavailable</c>: there is no such node.</exception>
    public VfioGroupPaths GetGroupPaths(VfioDevicesRequest request)
    {
        Reject(DeviceRules.Validate(request));
        var devices = request.PciAddresses!.Select(Get).ToList();
        if (devices.Find(device => device.Driver != VfioBinder.Driver) is { } unbound)
        {
            throw new VolantException(ErrorCodes.DeviceNotBound, $"PCI device {unbound} is not bound to {VfioBinder.Driver}; bind it first.");
        }

        var paths = devices.Select(GroupOf).Distinct().Select(VfioBinder.GroupPath).ToList();
        return paths.Find(path => !File.Exists(bus.PathOf(path.TrimStart('/')))) is { } missing
            ? throw new VolantException(ErrorCodes.DeviceUnavailable, $"There is no '{missing}', though its devices are bound; is /dev mounted, and the module vfio loaded?")
            : new VfioGroupPaths { GroupPaths = paths };
    }

    /// <summary>Binds devices and the others of their groups to vfio-pci, until they are unbound: all of them, or none.</summary>
    /// <param name="request">The devices.</param>
    /// <param name="cancellationToken">Stops the caller from waiting.</param>
    public Task<VfioBinding> BindAsync(VfioDevicesRequest request, CancellationToken cancellationToken)
    {
        Reject(DeviceRules.Validate(request));
        return AloneAsync(async () =>
        {
            var addresses = Resolve(request.PciAddresses!, request.Allowlist ?? [], "pci_addresses");
            var before = store.ListDeviceLeases().Select(lease => lease.Address).ToHashSet(StringComparer.Ordinal);
            await store.PinDevicesAsync(addresses, CancellationToken.None);
            var leases = store.ListDeviceLeases().Where(lease => addresses.Contains(lease.Address, StringComparer.Ordinal)).ToList();
            try
            {
                await BindAsync(leases);
            }
            catch
            {
                // Bound again they are not; should one be half-way, its lease stays and it can be unbound.
                var added = addresses.Where(address => !before.Contains(address)).ToList();
                await RestoreAsync([.. store.ListDeviceLeases().Where(lease => added.Contains(lease.Address, StringComparer.Ordinal))]);
                await store.UnpinDevicesAsync(added, CancellationToken.None);
                throw;
            }

            return new VfioBinding { Success = true, Message = $"Bound to {VfioBinder.Driver}.", BoundDevices = addresses };
        }).WaitAsync(cancellationToken);
    }

    /// <summary>Gives devices that <see cref="BindAsync(VfioDevicesRequest, CancellationToken)"/> took, and the others of their groups, back to the drivers that they had.</summary>
    /// <inheritdoc cref="BindAsync(VfioDevicesRequest, CancellationToken)"/>
    public Task<VfioUnbinding> UnbindAsync(VfioDevicesRequest request, CancellationToken cancellationToken)
    {
        Reject(DeviceRules.Validate(request));
        return AloneAsync(async () =>
        {
            var leases = FindPinned(request.PciAddresses!);
            var refused = await RestoreAsync(leases);
            var addresses = leases.Select(lease => lease.Address).ToList();
            await store.UnpinDevicesAsync(addresses, CancellationToken.None);
            return new VfioUnbinding
            {
                Success = refused.Count == 0,
                Message = refused.Count == 0 ? "Given back to the drivers that they had." : $"Not taken back by the driver that it had: {string.Join(", ", refused.Select(lease => $"{lease.Address} ({lease.Driver})"))}.",
                UnboundDevices = addresses,
            };
        }).WaitAsync(cancellationToken);
    }

    /// <inheritdoc/>
    public void Dispose() => _gate.Dispose();

    /// <summary>What clients bound in the groups of some devices.</summary>
    private List<DeviceLease> FindPinned(IReadOnlyList<string> addresses)
    {
        var pinned = store.ListDeviceLeases().Where(lease => lease.Pinned).ToList();
        var holders = store.ListDeviceHolders();
        var found = new List<DeviceLease>();
        foreach (var address in addresses)
        {
            if (!pinned.Exists(lease => lease.Address == address))
            {
                throw new VolantException(ErrorCodes.DeviceNotBound, holders.TryGetValue(address, out var vm)
                    ? $"PCI device {address} was not bound on request: VM '{vm}' holds it and gives it back when it ends."
                    : $"PCI device {address} was not bound on request of a client, so there is nothing to undo.");
            }

            var group = FindGroup(address);
            found.AddRange(pinned.Where(lease => lease.Address == address || (group is not null && FindGroup(lease.Address) == group)));
        }

        return found.Find(lease => holders.ContainsKey(lease.Address)) is { } held
            ? throw new VolantException(ErrorCodes.DeviceInUse, $"PCI device {held.Address} is held by VM '{holders[held.Address]}'; stop or delete that VM first.")
            : [.. found.Distinct()];
    }

    private IReadOnlyList<string> Resolve(IReadOnlyList<string> addresses, IReadOnlyList<string> allowlist, string path)
    {
        var plan = Plan(addresses, allowlist);
        return plan.Faults is not [var first, ..] ? [.. plan.Devices.Select(device => device.Address.ToString())] : throw new VolantException(
            first.Code,
            first.Index is null ? Describe(first, addresses) + "." : $"The devices cannot be passed through: {string.Join("; ", plan.Faults.Select(fault => Describe(fault, addresses)))}.")
        {
            Fields = [.. from fault in plan.Faults where fault.Index is not null select new FieldError(string.Create(CultureInfo.InvariantCulture, $"{path}[{fault.Index}]"), fault.Message)],
        };
    }

    private VfioPlan Plan(IReadOnlyList<string> addresses, IReadOnlyList<string> allowlist) => binder.Plan([.. addresses.Select(PciAddress.Parse)], options.VfioAllow, allowlist);

    private async Task<bool> BindAsync(IReadOnlyList<DeviceLease> leases)
    {
        var devices = leases.Select(lease => Get(lease.Address)).ToList();
        await store.RecordDriversAsync([.. leases.Zip(devices, (lease, device) => lease with { Driver = device.Driver, DriverOverride = device.DriverOverride })], CancellationToken.None);

        // Drivers take their time: seconds, in the case of a graphics card.
        await Task.Run(() => binder.Bind(devices));
        LogBound(string.Join(' ', devices.Select(device => device.Address)));
        return true;
    }

    /// <summary>Gives devices back; returns those that their driver did not take.</summary>
    private async Task<IReadOnlyList<DeviceLease>> RestoreAsync(IReadOnlyList<DeviceLease> leases)
    {
        var refused = new List<DeviceLease>();
        List<Exception> failures = [];
        foreach (var lease in leases.Where(lease => lease.Changed))
        {
            try
            {
                if (!await Task.Run(() => binder.Restore(PciAddress.Parse(lease.Address), lease.Driver, lease.DriverOverride)))
                {
                    refused.Add(lease);
                    LogNotTaken(lease.Address, lease.Driver);
                }
            }
            catch (VolantException e)
            {
                // The others go back all the same.
                failures.Add(e);
            }
        }

        return failures is [var first, ..] ? throw first : refused;
    }

    private PciDevice Get(string address) => bus.FindDevice(PciAddress.Parse(address)) ?? throw new VolantException(ErrorCodes.DeviceNotFound, $"This host has no PCI device {address}; see 'lspci -Dnn'.");

    private int? FindGroup(string address) => bus.FindDevice(PciAddress.Parse(address))?.Group;

    private static int GroupOf(PciDevice device) => device.Group ?? throw WithoutIommu(device);

    private async Task<T> AloneAsync<T>(Func<Task<T>> run)
    {
        await _gate.WaitAsync();
        try
        {
            return await run();
        }
        finally
        {
            _gate.Release();
        }
    }

    private static string Describe(DeviceFault fault, IReadOnlyList<string> addresses) => fault.Index is { } index ? $"{addresses[index]} {fault.Message}" : fault.Message;

    private static void Reject(IReadOnlyList<FieldError> faults)
    {
        if (faults.Count > 0)
        {
            throw new VolantException(ErrorCodes.InvalidRequest, $"The request is not valid: {string.Join("; ", faults.Select(fault => $"{fault.Path} {fault.Message}"))}.") { Fields = faults };
        }
    }

    private static VolantException WithoutIommu(PciDevice? device) =>
        new(ErrorCodes.Unsupported, $"{(device is null ? "This host has no IOMMU groups" : $"PCI device {device} is not guarded by an IOMMU")}: enable VT-d or AMD-Vi in the firmware and, on Intel, boot with intel_iommu=on.");

    private static string Number(int value) => value.ToString(CultureInfo.InvariantCulture);

    [LoggerMessage(EventId = 1301, Level = LogLevel.Information, Message = "PCI devices {Devices} are bound to vfio-pci")]
    private partial void LogBound(string devices);

    [LoggerMessage(EventId = 1302, Level = LogLevel.Warning, Message = "PCI device {Device} is given back, but driver {Driver} did not take it")]
    private partial void LogNotTaken(string device, string? driver);

    [LoggerMessage(EventId = 1303, Level = LogLevel.Error, Message = "PCI device {Device} could not be given back; unbind it by hand")]
    private partial void LogRecoverFailed(Exception exception, string device);
}
