namespace Volant.EndToEnd;

/// <summary>A small root image: one static program, busybox, and nothing else.</summary>
internal static class RootImage
{
    /// <summary>Makes an ext4 image of 48 MiB without being root.</summary>
    public static async Task MakeAsync(string image, string tree)
    {
        var bin = Directory.CreateDirectory(Path.Combine(tree, "bin")).FullName;
        File.Copy(Workspace.TestWorkload, Path.Combine(tree, "app"));
        File.Copy("/bin/busybox", Path.Combine(bin, "busybox"));
        await using (var file = File.Create(image))
        {
            file.SetLength(48L << 20);
        }

        await RunAsync("mke2fs", "-q", "-t", "ext4", "-E", "root_owner=0:0", "-d", tree, image);
    }

    /// <summary>The manifest of the plugin <c>rooted</c>, which boots from the image.</summary>
    public static string Manifest(string image, string more = "") => $$"""
        {"schema_version": "1.0", "name": "rooted", "version": "1", "runtime": "rooted", "resources": {"cpu_cores": 1, "memory_mb": 192}, "network": {"mode": "vsock"},
         "workload": {"type": "http", "entrypoint": ["/app", "8080"], "base_url": "http://127.0.0.1:8080"},
         "health_check": {"endpoint": "/healthy", "timeout_ms": 2000}, "rootfs": {"url": "{{image}}", "format": "raw"} {{more}} }
        """;

    /// <summary>The overlay of a stopped VM is consistent, and so is the ext4 file system on it, without a journal to replay.</summary>
    public static async Task CheckAsync(string overlay, string directory)
    {
        await RunAsync("qemu-img", "check", "-q", "-f", "qcow2", overlay);
        var raw = Path.Combine(directory, "checked.raw");
        await RunAsync("qemu-img", "convert", "-f", "qcow2", "-O", "raw", overlay, raw);
        var check = await RunAsync("e2fsck", "-fn", raw);
        Assert.DoesNotContain("recover", check.Output + check.Error, StringComparison.OrdinalIgnoreCase);
        File.Delete(raw);
    }

    private static async Task<CommandResult> RunAsync(params string[] command)
    {
        var result = await Command.RunAsync(command, TimeSpan.FromMinutes(3));
        Assert.True(result.ExitCode == 0, result.ToString());
        return result;
    }
}
