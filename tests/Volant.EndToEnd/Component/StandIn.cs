using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using Volant.Contracts;
using Volant.Contracts.Api;
using Volant.Contracts.Boot;
using Volant.Linux.Processes;

namespace Volant.EndToEnd.Component;

/// <summary>Daemons whose hypervisor is <c>qemu-stand-in</c>: the built volantd, real processes, sockets and signals, and no guest.</summary>
internal static class StandIn
{
    /// <summary>Name of the plugin that is installed, in mode vsock; a fault of the stand-in is chosen by <c>kernel_cmdline</c>.</summary>
    public const string Plugin = "stand-in";

    /// <summary>The program, made by <c>scripts/test.sh</c>.</summary>
    public static string Program { get; } = Path.Combine(Workspace.Root, "artifacts", "publish", "Volant.StandIn", "release_linux-x64", "qemu-stand-in");

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    /// <summary>How much a test does: <paramref name="all"/> when <c>VOLANT_SOAK=1</c> (see scripts/soak.sh), else a short form.</summary>
    public static int Extent(int few, int all) => Environment.GetEnvironmentVariable("VOLANT_SOAK") == "1" ? all : few;

    /// <summary>Says what was measured.</summary>
    public static void Report(string text) => TestContext.Current.TestOutputHelper?.WriteLine(text);

    /// <summary>Starts a daemon with the plugin; it has no rate limit unless the variables say otherwise.</summary>
    public static Task<TestDaemon> StartAsync(params (string Name, string Value)[] variables) => StartAsync([], variables);

    /// <summary>The same, behind a command that becomes the daemon, such as <c>ip netns exec NAME</c>.</summary>
    public static async Task<TestDaemon> StartAsync(IReadOnlyList<string> prefix, params (string Name, string Value)[] variables)
    {
        Assert.True(File.Exists(Program), $"{Program} is missing: dotnet publish tests/Volant.StandIn -c Release -r linux-x64");
        var environment = new Dictionary<string, string>(StringComparer.Ordinal) { ["VOLANT_HYPERVISOR"] = Program, ["VOLANT_RATE_LIMIT"] = "0" };
        foreach (var (name, value) in variables)
        {
            environment[name] = value;
        }

        var daemon = new TestDaemon(environment, prefix);
        if (environment.TryGetValue("VOLANT_API_KEY", out var key))
        {
            daemon.Client.DefaultRequestHeaders.Add("X-Volant-API-Key", key);
        }

        await daemon.StartAsync();
        Directory.CreateDirectory(daemon.ImageDirectory);
        await File.WriteAllBytesAsync(Path.Combine(daemon.ImageDirectory, "initramfs"), CpioHeader.EncodeArchive([("init", 0b111_101_101, "#!"u8.ToArray())]), Cancel);
        (await daemon.CallAsync(HttpMethod.Post, "/api/v1/plugins", Manifest(daemon, Plugin))).Expect(201);
        return daemon;
    }

    /// <summary>A manifest that boots.</summary>
    public static string Manifest(TestDaemon daemon, string name, string version = "1") => $$"""
        { "schema_version": "1.0", "name": "{{name}}", "version": "{{version}}", "resources": { "cpu_cores": 1, "memory_mb": 128 }, "network": { "mode": "vsock" },
          "workload": { "type": "http", "entrypoint": ["/bin/x"], "base_url": "http://127.0.0.1:8080" }, "initramfs": { "url": "{{daemon.ImageDirectory}}/initramfs" } }
        """;

    /// <summary>Asks for a VM with a fault.</summary>
    public static Task<Answer> CreateAsync(this TestDaemon daemon, string name, string fault = "", string config = "{}", string query = "") => daemon.CallAsync(
        HttpMethod.Post, $"/api/v1/vms{query}", $$"""{"name": "{{name}}", "plugin": "{{Plugin}}", "kernel_cmdline": "{{(fault.Length > 0 ? $"volant.fault={fault}" : "")}}", "config": {{config}} }""");

    /// <summary>Sends a request and reads the whole answer.</summary>
    public static async Task<Answer> CallAsync(this TestDaemon daemon, HttpMethod method, string path, string? json = null, params (string Name, string Value)[] headers)
    {
        using var request = new HttpRequestMessage(method, path);
        if (json is not null)
        {
            request.Content = new StringContent(json, Encoding.UTF8, "application/json");

            // What is refused for its size is refused before it is sent.
            request.Headers.ExpectContinue = json.Length > 200_000;
        }

        foreach (var (name, value) in headers)
        {
            request.Headers.TryAddWithoutValidation(name, value);
        }

        var sent = TimeProvider.System.GetTimestamp();
        using var response = await daemon.Client.SendAsync(request, Cancel);
        return new Answer((int)response.StatusCode, await response.Content.ReadAsStringAsync(Cancel), TimeProvider.System.GetElapsedTime(sent));
    }

    /// <summary>Every VM.</summary>
    public static async Task<IReadOnlyList<Vm>> VmsAsync(this TestDaemon daemon) =>
        (await daemon.CallAsync(HttpMethod.Get, "/api/v1/vms?limit=10000&sort=name")).As(200, ContractsJson.Default.IReadOnlyListVm);

    /// <summary>Polls until a condition holds.</summary>
    public static async Task UntilAsync(this TestDaemon daemon, Func<Task<bool>> condition, string what, int seconds = 60)
    {
        var started = TimeProvider.System.GetTimestamp();
        while (!await condition())
        {
            if (TimeProvider.System.GetElapsedTime(started).TotalSeconds > seconds)
            {
                Assert.Fail($"not within {seconds} s: {what}\n{daemon.Logs()}");
            }

            await Task.Delay(TimeSpan.FromMilliseconds(20), TimeProvider.System, Cancel);
        }
    }

    /// <summary>Sends a signal to a process of the test's daemon.</summary>
    public static void Signal(int pid, int signal)
    {
        using var process = PidFd.TryOpen(ProcessIdentity.Find(pid)!);
        Assert.True(process!.Signal(signal));
    }
}

/// <summary>An answer of the API.</summary>
/// <param name="Status">Its status.</param>
/// <param name="Body">Its body.</param>
/// <param name="Took">Time from sending to its last byte.</param>
internal sealed record Answer(int Status, string Body, TimeSpan Took)
{
    public bool IsSuccess => Status is >= 200 and < 300;

    /// <summary>The body, when the status is as expected.</summary>
    public T As<T>(int status, JsonTypeInfo<T> type) => JsonSerializer.Deserialize(Expect(status).Body, type)!;

    public Answer Expect(int status)
    {
        Assert.True(Status == status, $"{Status} instead of {status}: {Body}");
        return this;
    }
}
