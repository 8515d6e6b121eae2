using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Runtime.CompilerServices;
using System.Text.Json.Nodes;

[assembly: AssemblyFixture(typeof(Volant.EndToEnd.Workspace))]

namespace Volant.EndToEnd;

/// <summary>What all end-to-end tests share: the built programs, a guest kernel, and one plugin made by fledge.</summary>
public sealed class Workspace : IAsyncLifetime
{
    private const int BuildSeconds = 120;

    /// <summary>Root of the checkout.</summary>
    public static string Root { get; } = Path.GetFullPath(Path.Combine(ThisDirectory(), "..", ".."));

    /// <summary>The five programs, made by <c>scripts/build.sh</c>.</summary>
    public static string Programs { get; } = Path.Combine(Root, "dist", "bin");

    /// <summary>Where <c>scripts/kernel.sh</c> put the guest kernel.</summary>
    public static string Kernel { get; } = Environment.GetEnvironmentVariable("VOLANT_TEST_KERNEL_DIR") is { Length: > 0 } set ? set : Path.Combine(Root, ".cache", "kernel");

    /// <summary>The program that runs in the guests, made by <c>scripts/test.sh</c>.</summary>
    public static string TestWorkload { get; } = Path.Combine(Root, "artifacts", "publish", "Volant.TestWorkload", "release_linux-x64", "test-workload");

    /// <summary>Temporary directory of this run.</summary>
    public string Directory { get; } = System.IO.Directory.CreateTempSubdirectory("vt-").FullName;

    /// <summary>Manifest of the plugin <c>probe</c>, whose workload is test-workload.</summary>
    public string ProbeManifest => Path.Combine(Directory, "probe", "probe.manifest.json");

    /// <summary>Full path of one of our programs.</summary>
    public static string Program(string name) => Path.Combine(Programs, name);

    /// <inheritdoc/>
    public async ValueTask InitializeAsync()
    {
        foreach (var needed in new[] { Program("volantd"), Program("volar"), Program("kestrel"), Program("fledge"), TestWorkload })
        {
            Assert.True(File.Exists(needed), $"{needed} is missing: run scripts/build.sh first");
        }

        Assert.True(File.Exists(Path.Combine(Kernel, "bzImage")) || File.Exists(Path.Combine(Kernel, "vmlinux")), $"{Kernel} holds no kernel: run scripts/kernel.sh {Kernel} first");
        var source = System.IO.Directory.CreateDirectory(Path.Combine(Directory, "probe")).FullName;
        await File.WriteAllTextAsync(Path.Combine(source, "fledge.toml"), $"""
            version = "1"
            strategy = "initramfs"

            [agent]
            source_strategy = "local"
            path = "{Program("kestrel")}"

            [mappings]
            "{TestWorkload}" = "/bin/test-workload"
            """);
        await File.WriteAllTextAsync(Path.Combine(source, "manifest.toml"), """
            schema_version = "1.0"
            name = "probe"
            version = "1.0.0"
            runtime = "probe"

            [resources]
            cpu_cores = 1
            memory_mb = 192

            [workload]
            type = "http"
            entrypoint = ["/bin/test-workload", "8080"]
            base_url = "http://127.0.0.1:8080"

            [network]
            mode = "vsock"

            [health_check]
            endpoint = "/healthy"
            timeout_ms = 2000
            """);
        var built = await Command.RunAsync([Program("fledge"), "build", source, "--output", source + "/"], TimeSpan.FromSeconds(BuildSeconds));
        Assert.True(built.ExitCode == 0, built.ToString());
    }

    /// <summary>The probe's manifest with changes, as JSON text.</summary>
    public async Task<string> ManifestAsync(Action<JsonObject> change)
    {
        var manifest = JsonNode.Parse(await File.ReadAllTextAsync(ProbeManifest))!.AsObject();
        change(manifest);
        return manifest.ToJsonString();
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await Leftovers.RemoveAllAsync();
        System.IO.Directory.Delete(Directory, recursive: true);
    }

    /// <summary>Puts a copy of a program or script somewhere, for everybody to run.</summary>
    /// <remarks>Nothing that somebody may still write to is run (ETXTBSY), and a program that another test is just starting has every descriptor of this process.</remarks>
    internal static async Task InstallAsync(string program, string target)
    {
        var result = await Command.RunAsync(["install", "-m", "0755", program, target]);
        Assert.True(result.ExitCode == 0, result.ToString());
    }

    /// <summary>A TCP port of the loopback address that nobody has at this moment.</summary>
    /// <remarks>Bound alone: a program that another test is just starting has a copy of the socket, and one that listens would keep the port.</remarks>
    internal static int FreePort()
    {
        using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        socket.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        return ((IPEndPoint)socket.LocalEndPoint!).Port;
    }

    internal static string Number(long value) => value.ToString(CultureInfo.InvariantCulture);

    private static string ThisDirectory([CallerFilePath] string path = "")
    {
        // Deterministic builds map source paths away; the test program lies below artifacts/bin of the checkout.
        for (var directory = AppContext.BaseDirectory; directory is not null; directory = Path.GetDirectoryName(directory))
        {
            if (File.Exists(Path.Combine(directory, "Volant.slnx")))
            {
                return Path.Combine(directory, "tests", "Volant.EndToEnd");
            }
        }

        return Path.GetDirectoryName(path)!;
    }
}
