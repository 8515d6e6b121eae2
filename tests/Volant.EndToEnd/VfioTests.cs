using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using Volant.Contracts;
using Volant.Contracts.Api;

namespace Volant.EndToEnd;

/// <summary>Device passthrough on a real kernel, in a machine with an emulated IOMMU (C20).</summary>
public sealed class VfioTests : IAsyncLifetime
{
    private const string Base = "/api/v1/vfio/devices/";

    private const string IdlePlugin = """
        {"schema_version": "1.0", "name": "idle", "version": "1", "resources": {"cpu_cores": 1, "memory_mb": 256}, "network": {"mode": "vsock"},
         "workload": {"type": "http", "entrypoint": ["/init"], "base_url": "http://127.0.0.1:8080"}, "initramfs": {"url": "/state/images/idle.cpio"}}
        """;

    private PassthroughHost? _host;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        var kernel = Path.Combine(Workspace.Root, ".cache", "host-kernel");
        var made = await Command.RunAsync([Path.Combine(Workspace.Root, "scripts", "host-kernel.sh"), kernel], TimeSpan.FromSeconds(240));
        Assert.SkipUnless(made.ExitCode == 0, $"the distribution's full kernel cannot be had here: {made.Error}");
        Assert.SkipUnless(File.Exists("/usr/bin/busybox"), "there is no /usr/bin/busybox");
        _host = new PassthroughHost(kernel, await FilesAsync());
        Leftovers.Add(this, () =>
        {
            _host.Dispose();
            return Task.CompletedTask;
        });
        await _host.ReadyAsync(Cancel);
    }

    public ValueTask DisposeAsync()
    {
        Leftovers.Forget(this);
        if (TestContext.Current.TestState?.Result == TestResult.Failed)
        {
            TestContext.Current.TestOutputHelper?.WriteLine(_host?.Console ?? "no machine");
        }

        _host?.Dispose();
        return ValueTask.CompletedTask;
    }

    [Fact]
    public async Task A_spare_card_is_bound_by_hand_and_for_a_VM_and_gets_its_driver_back_and_what_is_in_use_is_left_alone()
    {
        // What is there.
        var groups = await PostAsync("iommu-groups", "{}", 200, ContractsJson.Default.IReadOnlyListVfioGroup);
        var info = await InfoAsync(PassthroughHost.SpareCard);
        Assert.Equal(("8086", "10d3", "e1000e"), (info.Vendor, info.Device, info.Driver));
        Assert.Contains(groups, group => group.Id == info.IommuGroup && group.Devices is [PassthroughHost.SpareCard]);
        Assert.Contains(groups, group => group.Devices.Contains(PassthroughHost.SharedController, StringComparer.Ordinal) && group.Devices.Count > 1);

        // What must not be taken.
        await RefusedAsync(PassthroughHost.BusyCard, 409, ErrorCodes.DeviceInUse, "is up");
        await RefusedAsync(PassthroughHost.Disk, 409, ErrorCodes.DeviceInUse, "used as swap");
        await RefusedAsync(PassthroughHost.SharedController, 422, ErrorCodes.DeviceNotAllowed, "shares IOMMU group");
        Assert.Equal("nvme", (await InfoAsync(PassthroughHost.Disk)).Driver);

        // Bind, and a daemon that is killed forgets nothing.
        var spare = $$"""{"pci_addresses": ["{{PassthroughHost.SpareCard}}"]}""";
        Assert.True((await PostAsync("validate", spare, 200, ContractsJson.Default.VfioValidation)).Valid);
        Assert.Equal([PassthroughHost.SpareCard], (await PostAsync("bind", spare, 200, ContractsJson.Default.VfioBinding)).BoundDevices);
        Assert.Equal("vfio-pci", (await InfoAsync(PassthroughHost.SpareCard)).Driver);
        await _host!.RunAsync("killall -9 volantd", Cancel);
        await _host.ReadyAsync(Cancel);
        var path = Assert.Single((await PostAsync("group-paths", spare, 200, ContractsJson.Default.VfioGroupPaths)).GroupPaths);
        Assert.Equal($"/dev/vfio/{info.IommuGroup}", path);

        // Unbind, once nobody has the group open: the kernel would wait for that process.
        await _host.RunAsync($"sleep 600 0<>{path} >/dev/null 2>&1 &", Cancel);
        var open = await PostAsync("unbind", spare, 409, ContractsJson.Default.Problem);
        Assert.Equal(ErrorCodes.DeviceInUse, open.Code);
        Assert.Contains(path, open.Detail, StringComparison.Ordinal);
        await _host.RunAsync("killall -9 sleep; while pidof sleep; do usleep 10000; done", Cancel);
        var unbound = await PostAsync("unbind", spare, 200, ContractsJson.Default.VfioUnbinding);
        Assert.True(unbound.Success, unbound.Message);
        Assert.Equal("e1000e", (await InfoAsync(PassthroughHost.SpareCard)).Driver);
        Assert.Equal(ErrorCodes.DeviceNotBound, (await PostAsync("group-paths", spare, 409, ContractsJson.Default.Problem)).Code);

        // A VM has the card while it runs; the daemon that deletes it is not the one that made it.
        await SendAsync("/api/v1/plugins", IdlePlugin, 201, ContractsJson.Default.PluginManifest);
        var vm = await SendAsync("/api/v1/vms", $$$"""{"name": "idle", "plugin": "idle", "config": {"devices": {"pci_passthrough": ["{{{PassthroughHost.SpareCard}}}"]} } }""", 201, ContractsJson.Default.Vm);
        Assert.Equal("vfio-pci", (await InfoAsync(PassthroughHost.SpareCard)).Driver);
        Assert.Matches($"-> .*{path}\n", await _host.RunAsync($"ls -l /proc/{vm.Pid}/fd", Cancel));

        // Its hypervisor is a user without rights all the same, and sees this group and no other.
        var status = await _host.RunAsync($"cat /proc/{vm.Pid}/status", Cancel);
        Assert.Matches("Uid:\t200[0-9]{3}\t", status);
        Assert.Contains("CapEff:\t0000000000000000", status, StringComparison.Ordinal);
        Assert.Equal([$"{info.IommuGroup}", "vfio"], (await _host.RunAsync($"ls /proc/{vm.Pid}/root/dev/vfio", Cancel)).Split((char[])[' ', '\n'], StringSplitOptions.RemoveEmptyEntries).Order(StringComparer.Ordinal));
        await _host.RunAsync("killall -9 volantd", Cancel);
        await _host.ReadyAsync(Cancel);
        Assert.Contains("is held by VM 'idle'", (await PostAsync("bind", spare, 409, ContractsJson.Default.Problem)).Detail, StringComparison.Ordinal);
        using var deleted = await _host.Client.DeleteAsync("/api/v1/vms/idle", Cancel);
        Assert.True((int)deleted.StatusCode == 204, $"{await deleted.Content.ReadAsStringAsync(Cancel)}\n{_host.Console}");
        Assert.Equal("e1000e", (await InfoAsync(PassthroughHost.SpareCard)).Driver);
    }

    /// <summary>The hypervisor with its firmware, what it and volantd are linked with, and the TLS library that volantd opens by itself.</summary>
    private static async Task<IReadOnlyList<string>> FilesAsync()
    {
        string[] programs = ["/usr/bin/qemu-system-x86_64", "/usr/lib/x86_64-linux-gnu/libssl.so.3"];
        string[] files = [.. programs, "/usr/lib/x86_64-linux-gnu/qemu/accel-tcg-x86_64.so", "/usr/share/seabios/bios-256k.bin", "/usr/share/qemu/linuxboot_dma.bin", "/usr/share/qemu/kvmvapic.bin"];
        var missing = files.FirstOrDefault(file => !File.Exists(file));
        Assert.SkipWhen(missing is not null, $"there is no {missing} on this machine");
        var linked = await Command.RunAsync(["ldd", Workspace.Program("volantd"), .. programs]);
        Assert.True(linked.ExitCode == 0, linked.ToString());
        return [.. linked.Output.Split((char[])[' ', '\t', '\n'], StringSplitOptions.RemoveEmptyEntries).Where(word => word.StartsWith('/') && !word.EndsWith(':')).Concat(files).Distinct(StringComparer.Ordinal)];
    }

    private Task<VfioDeviceInfo> InfoAsync(string address) => PostAsync("info", $$"""{"pci_address": "{{address}}"}""", 200, ContractsJson.Default.VfioDeviceInfo);

    private async Task RefusedAsync(string address, int status, string code, string words)
    {
        var problem = await PostAsync("bind", $$"""{"pci_addresses": ["{{address}}"]}""", status, ContractsJson.Default.Problem);
        Assert.Equal(code, problem.Code);
        Assert.Contains(words, problem.Detail, StringComparison.Ordinal);
    }

    private Task<T> PostAsync<T>(string route, string json, int status, JsonTypeInfo<T> type) => SendAsync(Base + route, json, status, type);

    private async Task<T> SendAsync<T>(string path, string json, int status, JsonTypeInfo<T> type)
    {
        using var content = new StringContent(json, Encoding.UTF8, new MediaTypeHeaderValue("application/json"));
        using var response = await _host!.Client.PostAsync(path, content, Cancel);
        var text = await response.Content.ReadAsStringAsync(Cancel);
        Assert.True((int)response.StatusCode == status, $"{path} {json}: {(int)response.StatusCode} {text}\n{_host.Console}");
        return JsonSerializer.Deserialize(text, type)!;
    }
}
