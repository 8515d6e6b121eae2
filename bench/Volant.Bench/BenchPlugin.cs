namespace Volant.Bench;

/// <summary>Plugins that are made for the measurements.</summary>
internal static class BenchPlugin
{
    /// <summary>Name of the plugin of <see cref="BuildIdleAsync"/>.</summary>
    public const string IdleName = "bench-idle";

    /// <summary>Seconds that the idle guest is observed for; its page answers after them.</summary>
    public const int IdleSeconds = 10;

    private const int SettleSeconds = 2;

    /// <summary>Path of the page with which the idle guest reports on itself.</summary>
    public const string IdlePage = "cgi-bin/idle.cgi";

    /// <summary>Path of the page with the kernel's log.</summary>
    public const string KernelLogPage = "cgi-bin/dmesg.cgi";

    /// <summary>What separates the parts of that page.</summary>
    public const string IdleSeparator = "====";

    /// <summary>A small guest whose only program is busybox: the lightest workload that answers HTTP.</summary>
    /// <returns>Path of the manifest.</returns>
    public static async Task<string> BuildIdleAsync(BenchContext context, CancellationToken cancellationToken)
    {
        var directory = context.NewDirectory("idle");
        var pages = Directory.CreateDirectory(Path.Combine(directory, "www", "cgi-bin")).Parent!.FullName;
        await File.WriteAllTextAsync(Path.Combine(pages, "healthz.txt"), "ok\n", cancellationToken);

        // Both samples are taken by one request, so no request of ours falls between them; the agent's work for it is over before the first.
        await WriteProgramAsync(
            Path.Combine(pages, IdlePage),
            $"""
            #!/bin/busybox sh
            printf 'Content-Type: text/plain\r\n\r\n'
            busybox sleep {SettleSeconds}
            busybox cat /proc/1/stat
            busybox sleep {IdleSeconds}
            busybox echo {IdleSeparator}
            busybox cat /proc/1/stat
            busybox echo {IdleSeparator}
            busybox cat /proc/1/status /proc/meminfo
            busybox echo {IdleSeparator}
            busybox cat /proc/uptime

            """,
            cancellationToken);
        await WriteProgramAsync(Path.Combine(pages, KernelLogPage), "#!/bin/busybox sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\n'\nbusybox dmesg\n", cancellationToken);
        return await BuildAsync(
            context,
            directory,
            IdleName,
            $"\"{pages}\" = \"/www\"",
            """["/bin/busybox", "httpd", "-f", "-p", "127.0.0.1:8080", "-h", "/www"]""",
            "/healthz.txt",
            memoryMb: 128,
            cancellationToken);
    }

    /// <summary>A guest that answers small requests and sends many bytes.</summary>
    /// <returns>Path of the manifest.</returns>
    public static Task<string> BuildProxyAsync(BenchContext context, CancellationToken cancellationToken) => BuildAsync(
        context,
        context.NewDirectory("proxy"),
        "bench-proxy",
        $"\"{context.Options.Workload}\" = \"/bin/test-workload\"",
        """["/bin/test-workload", "8080"]""",
        "/healthy",
        memoryMb: 192,
        cancellationToken);

    private static async Task WriteProgramAsync(string path, string text, CancellationToken cancellationToken)
    {
        await File.WriteAllTextAsync(path, text, cancellationToken);
        File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute | UnixFileMode.GroupRead | UnixFileMode.GroupExecute | UnixFileMode.OtherRead | UnixFileMode.OtherExecute);
    }

    private static async Task<string> BuildAsync(
        BenchContext context, string directory, string name, string mapping, string entrypoint, string health, int memoryMb, CancellationToken cancellationToken)
    {
        await File.WriteAllTextAsync(
            Path.Combine(directory, "fledge.toml"),
            $"""
            version = "1"
            strategy = "initramfs"

            [agent]
            source_strategy = "local"
            path = "{context.Program("kestrel")}"

            [mappings]
            {mapping}

            """,
            cancellationToken);
        await File.WriteAllTextAsync(
            Path.Combine(directory, "manifest.toml"),
            $"""
            schema_version = "1.0"
            name = "{name}"
            version = "1.0.0"
            runtime = "bench"

            [resources]
            cpu_cores = 1
            memory_mb = {memoryMb}

            [workload]
            type = "http"
            entrypoint = {entrypoint}
            base_url = "http://127.0.0.1:8080"

            [network]
            mode = "vsock"

            [health_check]
            endpoint = "{health}"
            timeout_ms = 2000

            """,
            cancellationToken);
        await Child.RunAsync([context.Program("fledge"), "build", directory, "--output", $"{directory}/"], directory, cancellationToken);
        return Path.Combine(directory, $"{name}.manifest.json");
    }
}
