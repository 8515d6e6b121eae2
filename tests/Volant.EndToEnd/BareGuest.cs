using System.Net.Sockets;
using Volant.Contracts.Api;
using Volant.Contracts.Boot;
using Volant.Contracts.Manifests;
using Volant.Daemon;
using Volant.Daemon.Guests;
using Volant.Daemon.Hypervisors;
using Volant.Daemon.Hypervisors.Qemu;

namespace Volant.EndToEnd;

/// <summary>A guest without a daemon: QEMU with the command line that the daemon would use, and an initramfs that holds nothing but the agent.</summary>
internal sealed class BareGuest : IAsyncDisposable
{
    private static readonly TimeSpan BootLimit = TimeSpan.FromSeconds(60);
    private static readonly TimeSpan StateWait = TimeSpan.FromSeconds(5);

    private readonly VmPaths _paths;
    private readonly Command _qemu;
    private GuestClient _client;

    private BareGuest(VmPaths paths, IReadOnlyList<string> arguments)
    {
        _paths = paths;
        _qemu = Command.Start(arguments);
        _client = NewClient();
        Leftovers.Add(this, RemoveAsync);
    }

    /// <summary>Key of its channel.</summary>
    public static byte[] Key { get; } = new byte[GuestLink.KeyLength];

    /// <summary>All that the guest wrote to its serial console.</summary>
    public string Console => File.Exists(_paths.ConsoleLog) ? File.ReadAllText(_paths.ConsoleLog) : string.Empty;

    /// <summary>Starts a guest.</summary>
    /// <param name="words">Kernel arguments besides the usual ones.</param>
    /// <param name="disks">Its disks.</param>
    /// <param name="manifest">Its manifest, which travels in the initramfs; null for none.</param>
    /// <param name="more">Arguments of QEMU besides the daemon's.</param>
    public static async Task<BareGuest> StartAsync(string words, IReadOnlyList<DiskSpec> disks, PluginManifest? manifest = null, IReadOnlyList<string>? more = null)
    {
        var root = Directory.CreateTempSubdirectory("vt-g-").FullName;
        var paths = new VmPaths(root, root);
        var kernel = Path.Combine(Workspace.Kernel, "bzImage");
        await WriteInitramfsAsync(paths.Initramfs, GuestModules.SegmentsOf(kernel, hasRootDisk: disks.Count > 0).FirstOrDefault(File.Exists), manifest);
        var host = QemuProbe.Probe(null);
        var line = $"console=ttyS0 reboot=k panic=1 quiet loglevel=1 hostname=bare {words}{(manifest is null ? string.Empty : $" {BootKeys.Manifest}={BootKeys.InInitrd}")}";
        var arguments = QemuArguments.Build(
            new LaunchSpec
            {
                Uid = Guid.NewGuid(),
                CpuCores = 1,
                MemoryMib = 192,
                Kernel = kernel,
                Initramfs = paths.Initramfs,
                KernelArguments = line,
                Disks = disks,
                Paths = paths,
            },
            host with { Kvm = false, Vsock = false });
        return new BareGuest(paths, [.. arguments, .. more ?? []]);
    }

    /// <summary>Waits until the agent's state is as wanted.</summary>
    public async Task<AgentState> UntilAsync(Func<AgentState, bool> wanted)
    {
        var started = TimeProvider.System.GetTimestamp();
        AgentState? state = null;
        while (TimeProvider.System.GetElapsedTime(started) < BootLimit && !_qemu.Exit.IsCompleted)
        {
            try
            {
                state = await _client.GetStateAsync(state?.Revision ?? 0, StateWait, CancellationToken.None);
                if (wanted(state))
                {
                    return state;
                }
            }
            catch (VolantException)
            {
                await Task.Delay(TimeSpan.FromMilliseconds(50), TimeProvider.System);
            }
        }

        throw new Xunit.Sdk.XunitException($"The guest is {state}; QEMU {(_qemu.Exit.IsCompleted ? $"ended: {_qemu.Output}{_qemu.Error}" : "runs")}\n{Console}");
    }

    /// <summary>Ends the connection to the agent; the next request opens another.</summary>
    public async Task DisconnectAsync()
    {
        await _client.DisposeAsync();
        _client = NewClient();
    }

    /// <summary>Sends bytes down the channel as they are, while there is no connection, and closes it.</summary>
    public async Task SendRawAsync(ReadOnlyMemory<byte> bytes)
    {
        using var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        var started = TimeProvider.System.GetTimestamp();
        while (!socket.Connected)
        {
            try
            {
                await socket.ConnectAsync(new UnixDomainSocketEndPoint(_paths.AgentSocket));
            }
            catch (SocketException) when (TimeProvider.System.GetElapsedTime(started) < BootLimit)
            {
                // QEMU has not made it yet.
                await Task.Delay(TimeSpan.FromMilliseconds(20), TimeProvider.System);
            }
        }

        await using var stream = new NetworkStream(socket);
        await stream.WriteAsync(bytes);
    }

    /// <summary>Sends a request to the agent, or through it to the workload.</summary>
    /// <param name="method">Its method.</param>
    /// <param name="path">Path and query.</param>
    /// <param name="body">JSON to send; null for none.</param>
    /// <param name="refusal">Status of the answer where it must not be a good one.</param>
    public async Task<string> SendAsync(HttpMethod method, string path, string? body = null, int? refusal = null)
    {
        using var request = new HttpRequestMessage(method, new Uri(GuestClient.BaseAddress, path)) { Content = body is null ? null : new StringContent(body) };
        using var response = await _client.Invoker.SendAsync(request, CancellationToken.None);
        var text = await response.Content.ReadAsStringAsync();
        Assert.True(refusal is { } status ? (int)response.StatusCode == status : response.IsSuccessStatusCode, $"{method} {path}: {(int)response.StatusCode} {text}\n{Console}");
        return text;
    }

    /// <summary>Waits until QEMU has ended by itself.</summary>
    public async Task ExitAsync()
    {
        try
        {
            await _qemu.Exit.WaitAsync(BootLimit);
        }
        catch (TimeoutException e)
        {
            throw new TimeoutException($"The guest did not end:\n{Console}", e);
        }
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        Leftovers.Forget(this);
        await RemoveAsync();
    }

    private GuestClient NewClient() => new(new GuestEndpoint.SerialPort(_paths.AgentSocket, Key), TimeProvider.System);

    private async Task RemoveAsync()
    {
        await _client.DisposeAsync();
        _qemu.Signal(9);
        await _qemu.Exit;
        _qemu.Dispose();
        Directory.Delete(_paths.Directory, recursive: true);
    }

    private static async Task WriteInitramfsAsync(string path, string? modules, PluginManifest? manifest)
    {
        List<(string, int, byte[]?)> members = [("init", 0b111_101_101, await File.ReadAllBytesAsync(Workspace.Program("kestrel")))];
        if (manifest is not null)
        {
            members.Insert(0, (Path.GetDirectoryName(BootKeys.ManifestFile)!.TrimStart('/'), 0b111_000_000, null));
            members.Insert(1, (BootKeys.ManifestFile.TrimStart('/'), 0b110_000_000, ManifestCodec.ToJson(manifest)));
        }

        await using var file = File.Create(path);
        await file.WriteAsync(modules is null ? [] : await File.ReadAllBytesAsync(modules));
        await file.WriteAsync(CpioHeader.EncodeArchive(members));
    }
}
