namespace Volant.Contracts.Api;

/// <summary>Stable values of <c>code</c> in every problem response (contract §1). Never renamed, never reused.</summary>
public static class ErrorCodes
{
    /// <summary>400: the request breaks a rule; <c>errors</c> lists the fields.</summary>
    public const string InvalidRequest = "invalid_request";

    /// <summary>400: the manifest breaks a rule.</summary>
    public const string InvalidManifest = "invalid_manifest";

    /// <summary>401: no key, or a wrong one.</summary>
    public const string Unauthorized = "unauthorized";

    /// <summary>403: the peer's address or origin is not allowed.</summary>
    public const string Forbidden = "forbidden";

    /// <summary>429: too many calls of one client.</summary>
    public const string TooManyRequests = "too_many_requests";

    /// <summary>404: no such route.</summary>
    public const string NotFound = "not_found";

    /// <summary>404: no VM has that name.</summary>
    public const string VmNotFound = "vm_not_found";

    /// <summary>409: a VM with that name exists.</summary>
    public const string VmExists = "vm_exists";

    /// <summary>409: the VM's status does not allow the operation.</summary>
    public const string VmStatusConflict = "vm_status_conflict";

    /// <summary>409: too many operations wait for the VM already.</summary>
    public const string VmBusy = "vm_busy";

    /// <summary>409: the VM does not run.</summary>
    public const string VmNotRunning = "vm_not_running";

    /// <summary>404: no deployment has that name.</summary>
    public const string DeploymentNotFound = "deployment_not_found";

    /// <summary>409: a deployment with that name exists.</summary>
    public const string DeploymentExists = "deployment_exists";

    /// <summary>409: VMs of the deployment could not be deleted; it is tried again.</summary>
    public const string DeploymentIncomplete = "deployment_incomplete";

    /// <summary>404: no plugin has that name.</summary>
    public const string PluginNotFound = "plugin_not_found";

    /// <summary>409: the plugin is disabled.</summary>
    public const string PluginDisabled = "plugin_disabled";

    /// <summary>409: VMs use the plugin.</summary>
    public const string PluginInUse = "plugin_in_use";

    /// <summary>404: the plugin has no such action.</summary>
    public const string ActionNotFound = "action_not_found";

    /// <summary>409: the VM has another runtime than the plugin.</summary>
    public const string RuntimeMismatch = "runtime_mismatch";

    /// <summary>503: no VM of the plugin is ready.</summary>
    public const string NoReadyVm = "no_ready_vm";

    /// <summary>404: no such artifact, or the file that a manifest names does not exist.</summary>
    public const string ArtifactNotFound = "artifact_not_found";

    /// <summary>422: a host path lies outside the configured image directories.</summary>
    public const string PathNotAllowed = "path_not_allowed";

    /// <summary>422: a URL leads to a host that downloads may not reach.</summary>
    public const string AddressNotAllowed = "address_not_allowed";

    /// <summary>502: a download failed.</summary>
    public const string DownloadFailed = "download_failed";

    /// <summary>422: the bytes do not have the expected SHA-256.</summary>
    public const string ChecksumMismatch = "checksum_mismatch";

    /// <summary>422: the boot medium is not what it should be.</summary>
    public const string InvalidMedia = "invalid_media";

    /// <summary>404: no volume has that name.</summary>
    public const string VolumeNotFound = "volume_not_found";

    /// <summary>409: a volume with that name exists.</summary>
    public const string VolumeExists = "volume_exists";

    /// <summary>409: a VM or a deployment has the volume.</summary>
    public const string VolumeInUse = "volume_in_use";

    /// <summary>409: a file of a disk is gone from the host.</summary>
    public const string DiskMissing = "disk_missing";

    /// <summary>413: the body is larger than the limit.</summary>
    public const string TooLarge = "too_large";

    /// <summary>415: the body is not JSON.</summary>
    public const string UnsupportedMediaType = "unsupported_media_type";

    /// <summary>422: well-formed, but this host or this VM cannot do it.</summary>
    public const string Unsupported = "unsupported";

    /// <summary>409: the port of the host is published already, or another program has it.</summary>
    public const string PortInUse = "port_in_use";

    /// <summary>404: no such port of the host is published.</summary>
    public const string RouteNotFound = "route_not_found";

    /// <summary>409: the route belongs to the configuration of a VM or deployment, and is changed there.</summary>
    public const string RouteManaged = "route_managed";

    /// <summary>404: the host has no such PCI device.</summary>
    public const string DeviceNotFound = "device_not_found";

    /// <summary>409: a VM holds the device, or the host uses it.</summary>
    public const string DeviceInUse = "device_in_use";

    /// <summary>409: the device is not bound to vfio-pci, or not by this daemon.</summary>
    public const string DeviceNotBound = "device_not_bound";

    /// <summary>422: the operator or the caller does not allow the device, or another device of its IOMMU group.</summary>
    public const string DeviceNotAllowed = "device_not_allowed";

    /// <summary>503: the kernel did not bind or release the device.</summary>
    public const string DeviceUnavailable = "device_unavailable";

    /// <summary>503: the pool has no free address.</summary>
    public const string IpPoolExhausted = "ip_pool_exhausted";

    /// <summary>503: the host lacks the hypervisor or the kernel, or the hypervisor did not start.</summary>
    public const string HypervisorUnavailable = "hypervisor_unavailable";

    /// <summary>503: the host lacks memory, processors or permission for what is asked.</summary>
    public const string InsufficientCapacity = "insufficient_capacity";

    /// <summary>503: the host network could not be changed.</summary>
    public const string NetworkUnavailable = "network_unavailable";

    /// <summary>404: there is no such file in the guest.</summary>
    public const string FileNotFound = "file_not_found";

    /// <summary>409: the file in the guest is something else than the request needs, is not empty, or cannot be changed.</summary>
    public const string FileConflict = "file_conflict";

    /// <summary>422: the command could not be started in the guest.</summary>
    public const string ExecFailed = "exec_failed";

    /// <summary>409: the guest has its identity already.</summary>
    public const string AlreadyIdentified = "already_identified";

    /// <summary>502: nothing listens on that port in the guest.</summary>
    public const string ConnectionRefused = "connection_refused";

    /// <summary>502: the guest's kernel failed the operation.</summary>
    public const string GuestError = "guest_error";

    /// <summary>502: the agent could not be reached.</summary>
    public const string AgentUnreachable = "agent_unreachable";

    /// <summary>504: the guest did not answer in time.</summary>
    public const string Timeout = "timeout";

    /// <summary>412: the resource changed since it was read.</summary>
    public const string VersionConflict = "version_conflict";

    /// <summary>507: the disk is full.</summary>
    public const string DiskFull = "disk_full";

    /// <summary>503: the daemon is stopping or not ready.</summary>
    public const string Unavailable = "unavailable";

    /// <summary>500: a fault of the daemon.</summary>
    public const string Internal = "internal";
}
