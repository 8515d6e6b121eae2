using System.Collections.Concurrent;
using System.Net;
using System.Text;
using Microsoft.Extensions.Logging.Abstractions;
using Volant.Contracts.Boot;
using Volant.Contracts.Manifests;
using Volant.Daemon;
using Volant.Daemon.Artifacts;
using Volant.Daemon.CloudInit;
using Volant.Daemon.Events;
using Volant.Daemon.Hypervisors;
using Volant.Daemon.Logs;
using Volant.Daemon.Networking;
using Volant.Daemon.Orchestration;
using Volant.Daemon.Plugins;
using Volant.Daemon.Publishing;
using Volant.Daemon.Store;
using Volant.Linux.Processes;
using Volant.Tests.Devices;

namespace Volant.Tests.Orchestration;

/// <summary>The orchestrator with a real store in a temporary directory, and small working stand-ins for what needs a host.</summary>
internal sealed class OrchestratorFixture : IAsyncDisposable
{
    /// <param name="root">Directory that becomes the fixture's own; a new one when null.</param>
    public OrchestratorFixture(string? root = null)
    {
        Root = root ?? Directory.CreateTempSubdirectory("volant-orch-").FullName;
        Directory.CreateDirectory(Path.Combine(Root, "images"));
        File.WriteAllBytes(Path.Combine(Root, "kernel"), BzImageHeader());
        File.WriteAllText(Path.Combine(Root, "agent"), "kestrel");
        File.WriteAllBytes(Path.Combine(Root, "images", "initramfs"), CpioHeader.EncodeArchive([("init", 0b111_101_101, "#!"u8.ToArray())]));
        Options = DaemonEnvironment.Read(new Dictionary<string, string>(StringComparer.Ordinal)
        {
            ["HOME"] = Root,
            ["VOLANT_DB_PATH"] = Path.Combine(Root, "state.db"),
            ["VOLANT_RUNTIME_DIR"] = Path.Combine(Root, "run"),
            ["VOLANT_LOG_DIR"] = Path.Combine(Root, "logs"),
            ["VOLANT_KERNEL_BZIMAGE"] = Path.Combine(Root, "kernel"),
            ["VOLANT_KERNEL_VMLINUX"] = Path.Combine(Root, "none"),
            ["VOLANT_VFIO_ALLOW"] = "8086:*",
            ["VOLANT_AGENT"] = Path.Combine(Root, "agent"),
        });
        Host = new FakeHost(Path.Combine(Root, "host"));
        Open();
    }

    public string Root { get; }

    /// <summary>Settings; another value holds from the next <see cref="RestartAsync"/> on.</summary>
    public DaemonOptions Options { get; set; }

    public SettableTimeProvider Clock { get; private set; } = new();

    public FakeNetwork Network { get; } = new();

    public FakeLauncher Launcher { get; } = new();

    /// <summary>The PCI devices; none at first, and no IOMMU.</summary>
    public FakeHost Host { get; }

    public DevicePassthrough Devices { get; private set; } = null!;

    public EventBus Events { get; private set; } = null!;

    public Database Database { get; private set; } = null!;

    public VolantStore Store { get; private set; } = null!;

    public VmOwners Owners { get; private set; } = null!;

    public PublishedPorts Ports { get; private set; } = null!;

    public VmOrchestrator Orchestrator { get; private set; } = null!;

    public Recovery Recovery { get; private set; } = null!;

    /// <summary>Runs after <see cref="RestartAsync"/>, or once a test starts it.</summary>
    public RestartLoop Restarts { get; private set; } = null!;

    public HostResources Resources { get; private set; } = null!;

    public VolumeKeeper Volumes { get; private set; } = null!;

    public ArtifactCache Cache { get; private set; } = null!;

    public ArtifactCollector Collector { get; private set; } = null!;

    public PluginRegistry Plugins { get; private set; } = null!;

    public Task InstallAsync(string network = "bridged") => Plugins.InstallAsync(
        ManifestReader.Read(Encoding.UTF8.GetBytes($$"""
            { "schema_version": "1.0", "name": "hello", "version": "1", "resources": { "cpu_cores": 1, "memory_mb": 256 }, "network": { "mode": "{{network}}" },
              "workload": { "type": "http", "entrypoint": ["/bin/x"], "base_url": "http://127.0.0.1:8080" }, "initramfs": { "url": "{{Root}}/images/initramfs" } }
            """)),
        TestContext.Current.CancellationToken);

    /// <summary>Forgets everything in memory and starts again from the store and the host, as after a kill of the daemon.</summary>
    public async Task RestartAsync()
    {
        // Otherwise what follows the runs goes on beside that of the next daemon.
        await Owners.DisposeAsync();
        await Database.DisposeAsync();
        Open();
        await Recovery.StartAsync(TestContext.Current.CancellationToken);
        await Recovery.Completed.WaitAsync(TestContext.Current.CancellationToken);
        await Restarts.StartAsync(TestContext.Current.CancellationToken);
    }

    /// <summary>Another time of day, as after the clock was set; for the next daemon.</summary>
    public void SetClock(DateTimeOffset now) => Clock = new SettableTimeProvider(now);

    public void AssertNothingIsHeld()
    {
        Assert.Empty(Network.Taps);
        Assert.Empty(Store.ListDeviceLeases());
        Assert.Empty(Launcher.Alive);
        Assert.Empty(Entries(Options.RuntimeDirectory));
    }

    public async ValueTask DisposeAsync()
    {
        await Recovery.StopAsync(CancellationToken.None);
        await Restarts.StopAsync(CancellationToken.None);
        await Launcher.DisposeAsync();
        Events.Dispose();
        await Owners.DisposeAsync();
        Devices.Dispose();
        await Database.DisposeAsync();
        Directory.Delete(Root, recursive: true);
    }

    /// <summary>As much of a kernel as the daemon looks at.</summary>
    internal static byte[] BzImageHeader()
    {
        var header = new byte[0x400];
        header[0x1fe] = 0x55;
        header[0x1ff] = 0xaa;
        "HdrS"u8.CopyTo(header.AsSpan(0x202));
        return header;
    }

    private static string[] Entries(string directory) => Directory.Exists(directory) ? Directory.GetFileSystemEntries(directory) : [];

    private void Open()
    {
        Database = new Database(Options.DatabasePath);
        Store = new VolantStore(Database, Clock);
        Events?.Dispose();
        Events = new EventBus(Store);
        Plugins = new PluginRegistry(Store);
        Owners = new VmOwners();
        var subnet = new Subnet(Options.Subnet, Options.HostIp);
        Ports = new PublishedPorts(
            Store, Owners, new PortForwarders(Options.PublishAddress, Clock, NullLogger<PortForwarders>.Instance), GuestDialer.Direct, subnet, Options, NullLogger<PublishedPorts>.Instance);
        Devices?.Dispose();
        Devices = new DevicePassthrough(Host.Bus, Host.Binder, Store, Options, NullLogger<DevicePassthrough>.Instance);
        var resources = Resources = new HostResources(Store, Network, Devices, Ports, Options);
        var logs = new LogCollector(new LogHub(), new ConsoleLimit(Clock, NullLogger<ConsoleLimit>.Instance), Clock, NullLogger<LogCollector>.Instance);
        var supervisor = new VmSupervisor(Store, resources, Options, logs, Clock, NullLogger<VmSupervisor>.Instance);
        Volumes = new VolumeKeeper(Store, Options);
        var cache = Cache = new ArtifactCache(Options.CacheDirectory, Options.MaxArtifactBytes, Clock);
        var transfers = new ArtifactTransfers(Clock);
        var downloads = new ArtifactDownloads(
            cache, Options.CacheDirectory, transfers, new AddressGuard([], (_, _) => throw new InvalidOperationException("No test looks up a name.")),
            new DownloadLimits(TimeSpan.FromMinutes(1), TimeSpan.FromSeconds(10)), TimeProvider.System, NullLogger<ArtifactDownloads>.Instance);
        var images = new BootImages(cache, downloads, transfers, Options.CacheDirectory, Options.ImageDirectories, Clock);
        Collector = new ArtifactCollector(cache, downloads, images, Store, Options, Clock, NullLogger<ArtifactCollector>.Instance);
        Orchestrator = new VmOrchestrator(
            Store, Plugins, new BootPreparation(images, Resources, Options, subnet), new DiskPreparation(images, cache, Volumes, new SeedImage(null, Clock), Store, resources, Options), resources, Launcher, Owners, supervisor, new GracefulEnd(Clock, NullLogger<GracefulEnd>.Instance), subnet, Clock, NullLogger<VmOrchestrator>.Instance);
        Recovery = new Recovery(Store, Orchestrator, Owners, Launcher, Network, Ports, Devices, Volumes, Options, Clock, NullLogger<Recovery>.Instance);
        Restarts = new RestartLoop(Store, Orchestrator, Clock, NullLogger<RestartLoop>.Instance);
    }
}

/// <summary>A set that several threads may change.</summary>
internal sealed class ConcurrentSet : IEnumerable<string>
{
    private readonly ConcurrentDictionary<string, bool> _items = new(StringComparer.Ordinal);

    public int Count => _items.Count;

    public void Add(string item) => _items[item] = true;

    public void Remove(string item) => _items.TryRemove(item, out _);

    public IEnumerator<string> GetEnumerator() => _items.Keys.GetEnumerator();

    System.Collections.IEnumerator System.Collections.IEnumerable.GetEnumerator() => GetEnumerator();
}

/// <summary>Taps as a set of names.</summary>
internal sealed class FakeNetwork : IHostNetwork
{
    private int _waiting;

    public ConcurrentSet Taps { get; } = [];

    public Exception? DetachFailure { get; set; }

    public Exception? Failure { get; set; }

    /// <summary>Thrown when the tap has been made.</summary>
    public Exception? FailureAfter { get; set; }

    /// <summary>What an attach waits for before it does anything.</summary>
    public Task? AttachWaits { get; set; }

    /// <summary>What a detach waits for before it does anything.</summary>
    public Task? DetachWaits { get; set; }

    /// <summary>Calls that wait now.</summary>
    public int Waiting => Volatile.Read(ref _waiting);

    /// <summary>What <see cref="CheckAsync"/> answers.</summary>
    public IReadOnlyList<TapFault> Faults { get; set; } = [];

    /// <summary>What the last check was asked for.</summary>
    public IReadOnlyCollection<AttachedGuest> Checked { get; private set; } = [];

    /// <summary>What each guest may use.</summary>
    public ConcurrentDictionary<Guid, IReadOnlyList<IPAddress>> Allowed { get; } = [];

    public Task<IReadOnlyList<TapFault>> CheckAsync(IReadOnlyCollection<AttachedGuest> guests)
    {
        Checked = guests;
        return Task.FromResult<IReadOnlyList<TapFault>>([.. Faults.Where(fault => guests.Any(guest => guest.Uid == fault.Uid))]);
    }

    public bool ServesGuests { get; set; }

    public async Task<string> AttachAsync(AttachedGuest guest, CancellationToken cancellationToken)
    {
        var uid = guest.Uid;
        Allowed[uid] = guest.Addresses;
        if (Failure is { } failure)
        {
            throw failure;
        }

        await WaitAsync(AttachWaits);
        Taps.Add(LinuxBridgeNetwork.TapNameFor(uid));
        if (FailureAfter is { } late)
        {
            throw late;
        }

        return LinuxBridgeNetwork.TapNameFor(uid);
    }

    public async Task DetachAsync(string tap, CancellationToken cancellationToken)
    {
        await WaitAsync(DetachWaits);
        if (DetachFailure is { } failure)
        {
            throw failure;
        }

        Taps.Remove(tap);
    }

    private async Task WaitAsync(Task? until)
    {
        Interlocked.Increment(ref _waiting);
        await (until ?? Task.CompletedTask);
        Interlocked.Decrement(ref _waiting);
    }

    public Task<IReadOnlyList<string>> ListAsync() => Task.FromResult<IReadOnlyList<string>>([.. Taps]);
}

/// <summary>Hypervisors that are real processes (sleep), so that identity, signals and exits are real.</summary>
internal sealed class FakeLauncher : IHypervisorLauncher, IAsyncDisposable
{
    private readonly ConcurrentDictionary<Guid, ProcessIdentity> _launched = [];
    private readonly ConcurrentDictionary<Guid, IAsyncDisposable> _guests = [];
    private int _launches;
    private int _powerOffs;
    private int _waiting;

    /// <summary>What stands behind the guest channel of a VM while its process lives.</summary>
    public Func<LaunchSpec, IAsyncDisposable>? GuestOf { get; set; }

    public int Launches => _launches;

    /// <summary>What was launched last of each VM.</summary>
    public ConcurrentDictionary<Guid, LaunchSpec> Specs { get; } = [];

    /// <summary>Ends a hypervisor as a crash does.</summary>
    public async Task KillAsync(Guid uid)
    {
        using var descriptor = PidFd.TryOpen(_launched[uid])!;
        descriptor.Signal(9);
        await ProcessExitWatcher.WaitForExitAsync(descriptor);
    }

    /// <summary>Whether hypervisors take no notice of a request to power off.</summary>
    public bool IgnorePowerOff { get; set; }

    /// <summary>Requests to power off.</summary>
    public int PowerOffs => Volatile.Read(ref _powerOffs);

    public Exception? FailBefore { get; set; }

    public Exception? FailAfter { get; set; }

    /// <summary>What a launch waits for before its process exists.</summary>
    public Task? WaitsBefore { get; set; }

    /// <summary>What a launch waits for once its process exists and is recorded.</summary>
    public Task? WaitsAfter { get; set; }

    /// <summary>Launches that wait now.</summary>
    public int Waiting => Volatile.Read(ref _waiting);

    /// <summary>Fails before some launches only.</summary>
    public Func<LaunchSpec, Exception?>? FailWhen { get; set; }

    public IReadOnlyList<ProcessIdentity> Alive => [.. _launched.Values.Where(process => process.IsAlive())];

    public HypervisorCapabilities Capabilities { get; } = new("qemu", "7.2", Kvm: false, Vsock: false);

    public string KernelCommandLine(LaunchSpec spec) => spec.KernelArguments;

    public async Task<VmProcess> LaunchAsync(LaunchSpec spec, Func<VmHandle, Task> started, CancellationToken cancellationToken)
    {
        Interlocked.Increment(ref _launches);
        Specs[spec.Uid] = spec;
        if ((FailBefore ?? FailWhen?.Invoke(spec)) is { } before)
        {
            throw before;
        }

        await WaitAsync(WaitsBefore);
        var identity = ProcessIdentity.Find(ProcessSpawner.Spawn(new SpawnRequest { Arguments = ["/bin/sleep", "300"] }))!;
        _launched[spec.Uid] = identity;
        if (GuestOf is { } guestOf)
        {
            _guests[spec.Uid] = guestOf(spec);
            _ = EndGuestAsync(spec.Uid, identity);
        }

        var process = new FakeProcess(this, new VmHandle(spec.Uid, identity, spec.Paths));
        try
        {
            await started(process.Handle);
            await WaitAsync(WaitsAfter);
            return FailAfter is { } after ? throw after : process;
        }
        catch
        {
            // A launch that fails leaves nothing behind.
            await process.KillAsync();
            throw;
        }
    }

    public Task<VmProcess?> TryAdoptAsync(VmHandle handle, CancellationToken cancellationToken) =>
        Task.FromResult<VmProcess?>(handle.Process.IsAlive() ? new FakeProcess(this, handle) : null);

    public IReadOnlyList<(Guid Uid, ProcessIdentity Process)> Discover(string runtimeDirectory) =>
        [.. _launched.Where(launched => launched.Value.IsAlive()).Select(launched => (launched.Key, launched.Value))];

    public async ValueTask DisposeAsync()
    {
        foreach (var identity in Alive)
        {
            using var descriptor = PidFd.TryOpen(identity);
            descriptor?.Signal(9);

            // The next daemon must not find it in the moment before it is dead.
            while (identity.IsAlive())
            {
                await Task.Delay(TimeSpan.FromMilliseconds(1), TimeProvider.System);
            }
        }

        foreach (var uid in _guests.Keys)
        {
            if (_guests.TryRemove(uid, out var guest))
            {
                await guest.DisposeAsync();
            }
        }
    }

    private async Task WaitAsync(Task? until)
    {
        Interlocked.Increment(ref _waiting);
        await (until ?? Task.CompletedTask);
        Interlocked.Decrement(ref _waiting);
    }

    private async Task EndGuestAsync(Guid uid, ProcessIdentity identity)
    {
        using var descriptor = PidFd.TryOpen(identity);
        if (descriptor is not null)
        {
            await ProcessExitWatcher.WaitForExitAsync(descriptor);
        }

        if (_guests.TryRemove(uid, out var guest))
        {
            await guest.DisposeAsync();
        }
    }

    private sealed class FakeProcess : VmProcess
    {
        private readonly FakeLauncher _launcher;
        private readonly PidFd _descriptor;

        public FakeProcess(FakeLauncher launcher, VmHandle handle)
        {
            _launcher = launcher;
            Handle = handle;
            _descriptor = PidFd.TryOpen(handle.Process)!;
            Exited = WaitAsync();
        }

        public override VmHandle Handle { get; }

        public override AgentLink AgentLink => AgentLink.SerialPort;

        public override Task<HypervisorExit> Exited { get; }

        public override Task RequestPowerOffAsync(CancellationToken cancellationToken)
        {
            Interlocked.Increment(ref _launcher._powerOffs);
            if (!_launcher.IgnorePowerOff)
            {
                _descriptor.Signal(15);
            }

            return Task.CompletedTask;
        }

        public override Task KillAsync()
        {
            _descriptor.Signal(9);
            return Exited;
        }

        public override Task PauseAsync(CancellationToken cancellationToken) => Task.CompletedTask;

        public override Task ResumeAsync(CancellationToken cancellationToken) => Task.CompletedTask;

        public override ValueTask DisposeAsync() => ValueTask.CompletedTask;

        private async Task<HypervisorExit> WaitAsync()
        {
            var exit = await ProcessExitWatcher.WaitForExitAsync(_descriptor);
            return new HypervisorExit(exit.ExitCode, exit.Signal, null);
        }
    }
}
