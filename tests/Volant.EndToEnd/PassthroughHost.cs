using System.Globalization;
using System.Net;
using System.Net.Sockets;
using Volant.Contracts.Boot;

namespace Volant.EndToEnd;

/// <summary>A machine with an emulated IOMMU that runs the distribution's full kernel and volantd: two network cards of one kind, of which one is up, and a disk that is swap.</summary>
internal sealed class PassthroughHost : IDisposable
{
    /// <summary>The card that the test talks over.</summary>
    public const string BusyCard = "0000:00:04.0";

    /// <summary>A card that nobody uses.</summary>
    public const string SpareCard = "0000:00:05.0";

    /// <summary>A disk controller whose disk is swap.</summary>
    public const string Disk = "0000:00:06.0";

    /// <summary>A disk controller that shares its group with an ISA bridge that has a driver, and others.</summary>
    public const string SharedController = "0000:00:1f.2";

    private const string Key = "key-of-the-passthrough-host";
    private const int BootSeconds = 150;

    private const string Init = $$"""
        #!/bin/busybox sh
        /bin/busybox --install -s /bin
        export PATH=/bin
        # A root that can be changed, as that of any host: the first one cannot.
        [ -n "$ROOTED" ] || { mount --bind / /host && ROOTED=yes exec chroot /host /init; }
        mount -t proc proc /proc && mount -t sysfs sys /sys && mount -t devtmpfs dev /dev
        for module in /modules/*.ko; do insmod $module || echo "insmod $module failed"; done
        card=$(ls /sys/bus/pci/devices/{{BusyCard}}/net)
        ip link set lo up && ip addr add 10.0.2.15/24 dev $card && ip link set $card up
        mkswap /dev/nvme0n1 && swapon /dev/nvme0n1
        export VOLANT_HYPERVISOR=/usr/bin/qemu-system-x86_64 VOLANT_KERNEL_BZIMAGE=/kernel
        export HOME=/state VOLANT_DB_PATH=/state/state.db VOLANT_API_LISTEN=0.0.0.0:7777 VOLANT_API_KEY={{Key}} VOLANT_VFIO_ALLOW=8086:10d3,8086:2922,1b36:0010
        nc -ll -p 7778 -e sh &
        while :; do volantd; echo "volantd ended with $?"; sleep 1; done
        """;

    private readonly string _directory = Directory.CreateTempSubdirectory("vt-vfio-").FullName;
    private readonly int _shell = Workspace.FreePort();
    private readonly Command _machine;

    /// <param name="kernel">What <c>scripts/host-kernel.sh</c> made.</param>
    /// <param name="files">What else of this host it has, in the same places: libraries, the hypervisor and its firmware.</param>
    public PassthroughHost(string kernel, IReadOnlyList<string> files)
    {
        var port = Workspace.FreePort();
        File.WriteAllBytes(InitramfsPath, Archive(kernel, files));
        File.WriteAllBytes(Path.Combine(_directory, "disk"), new byte[16 << 20]);
        _machine = Command.Start(
        [
            "qemu-system-x86_64", "-machine", "q35,kernel-irqchip=split", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "2048M",
            "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-serial", $"file:{ConsolePath}",
            "-device", "intel-iommu,intremap=on,caching-mode=on",
            "-kernel", Path.Combine(kernel, "vmlinuz"), "-initrd", InitramfsPath,
            "-append", $"console=ttyS0 intel_iommu=on no_timer_check panic=-1 quiet cryptomgr.notests {TscArgument()}",
            "-netdev", $"user,id=n0,restrict=on,hostfwd=tcp:127.0.0.1:{Workspace.Number(port)}-10.0.2.15:7777,hostfwd=tcp:127.0.0.1:{Workspace.Number(_shell)}-10.0.2.15:7778",
            "-device", "e1000e,netdev=n0,addr=4,romfile=",
            "-netdev", "user,id=n1,restrict=on", "-device", "e1000e,netdev=n1,addr=5,romfile=",
            "-blockdev", $"driver=raw,node-name=d0,file.driver=file,file.filename={Path.Combine(_directory, "disk")}", "-device", "nvme,drive=d0,serial=swap,addr=6",
        ]);
        Client = new HttpClient { BaseAddress = new Uri($"http://127.0.0.1:{Workspace.Number(port)}"), Timeout = TimeSpan.FromSeconds(60) };
        Client.DefaultRequestHeaders.Add("X-Volant-API-Key", Key);
    }

    /// <summary>Speaks to the volantd inside.</summary>
    public HttpClient Client { get; }

    private string ConsolePath => Path.Combine(_directory, "console");

    private string InitramfsPath => Path.Combine(_directory, "initramfs");

    /// <summary>What the machine wrote to its console.</summary>
    public string Console => (File.Exists(ConsolePath) ? File.ReadAllText(ConsolePath) : string.Empty) + _machine.Error;

    /// <summary>Waits until volantd answers.</summary>
    public async Task ReadyAsync(CancellationToken cancellationToken)
    {
        var started = TimeProvider.System.GetTimestamp();
        while (true)
        {
            try
            {
                using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
                patience.CancelAfter(TimeSpan.FromSeconds(5));
                using var response = await Client.GetAsync("/readyz", patience.Token);
                if (response.IsSuccessStatusCode)
                {
                    return;
                }
            }
            catch (Exception e) when (e is HttpRequestException or OperationCanceledException && !cancellationToken.IsCancellationRequested)
            {
                // It does not listen yet.
            }

            Assert.False(_machine.Exit.IsCompleted, $"the machine ended: {Console}");
            Assert.True(TimeProvider.System.GetElapsedTime(started).TotalSeconds < BootSeconds, $"volantd did not answer within {BootSeconds} s: {Console}");
            await Task.Delay(TimeSpan.FromMilliseconds(200), TimeProvider.System, cancellationToken);
        }
    }

    /// <summary>Runs shell commands inside the machine and returns what they printed. A volantd that they kill is started again.</summary>
    public async Task<string> RunAsync(string commands, CancellationToken cancellationToken)
    {
        using var connection = new TcpClient();
        await connection.ConnectAsync(IPAddress.Loopback, _shell, cancellationToken);
        await connection.GetStream().WriteAsync(System.Text.Encoding.UTF8.GetBytes($"{commands}\nexit\n"), cancellationToken);
        using var reader = new StreamReader(connection.GetStream());
        return await reader.ReadToEndAsync(cancellationToken);
    }

    public void Dispose()
    {
        Client.Dispose();
        _machine.Dispose();
        Directory.Delete(_directory, recursive: true);
    }

    private static byte[] Archive(string kernel, IReadOnlyList<string> files)
    {
        const int program = 0b111_101_101;
        List<(string Path, int Permissions, byte[]? Content)> members =
        [
            .. new[] { "bin", "dev", "host", "modules", "proc", "state", "state/images", "sys", "tmp" }.Select(directory => (directory, program, (byte[]?)null)),
            ("init", program, System.Text.Encoding.UTF8.GetBytes(Init.ReplaceLineEndings("\n"))),
            ("bin/busybox", program, File.ReadAllBytes("/usr/bin/busybox")),
            ("kernel", program, File.ReadAllBytes(Path.Combine(kernel, "vmlinuz"))),
            ("state/images/idle.cpio", program, CpioHeader.EncodeArchive([("busybox", program, File.ReadAllBytes("/usr/bin/busybox")), ("init", program, "#!/busybox sh\nwhile :; do /busybox sleep 600; done\n"u8.ToArray())])),
            .. new[] { "volantd", "libe_sqlite3.so" }.Select(name => ($"bin/{name}", program, (byte[]?)File.ReadAllBytes(Workspace.Program(name)))),
            .. Directory.GetFiles(Path.Combine(kernel, "modules")).Select(path => ($"modules/{Path.GetFileName(path)}", program, (byte[]?)File.ReadAllBytes(path))),
        ];
        foreach (var file in files)
        {
            for (var parent = file.LastIndexOf('/'); parent > 0; parent = file.LastIndexOf('/', parent - 1))
            {
                // Parents first.
                members.Insert(0, (file[1..parent], program, null));
            }

            members.Add((file[1..], program, File.ReadAllBytes(file)));
        }

        return CpioHeader.EncodeArchive([.. members.DistinctBy(member => member.Path)]);
    }

    /// <summary>The kernel cannot measure the clock on a busy host; /proc/cpuinfo says twice its MHz.</summary>
    private static string TscArgument()
    {
        var bogomips = File.ReadLines("/proc/cpuinfo").FirstOrDefault(line => line.StartsWith("bogomips", StringComparison.Ordinal))?.Split(':')[1];
        return double.TryParse(bogomips, CultureInfo.InvariantCulture, out var value) ? $"tsc_early_khz={Workspace.Number((long)(value * 500))}" : string.Empty;
    }
}
