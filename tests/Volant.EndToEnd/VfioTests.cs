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

    private PassthroughHost? _host;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        var kernel = Path.Combine(Workspace.Root, ".cache", "host-kernel");
        var made = await Command.RunAsync([Path.Combine(Workspace.Root, "scripts", "host-kernel.sh"), kernel], TimeSpan.FromSeconds(240));
        Assert.SkipUnless(made.ExitCode == 0, $"the distribution's full kernel cannot be had here: {made.Error}");
        Assert.SkipUnless(File.Exists("/usr/bin/busybox"), "there is no /usr/bin/busybox");
        var linked = await Command.RunAsync(["ldd", Workspace.Program("volantd")]);
        Assert.True(linked.ExitCode == 0, linked.ToString());
        var libraries = linked.Output.Split((char[])[' ', '\t', '\n'], StringSplitOptions.RemoveEmptyEntries).Where(word => word.StartsWith('/')).ToList();
        _host = new PassthroughHost(kernel, libraries);
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
    public async Task A_spare_card_is_bound_has_its_group_node_and_gets_its_driver_back_and_what_is_in_use_is_left_alone()
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
        await _host!.KillDaemonAsync(Cancel);
        await _host.ReadyAsync(Cancel);
        Assert.Equal([$"/dev/vfio/{info.IommuGroup}"], (await PostAsync("group-paths", spare, 200, ContractsJson.Default.VfioGroupPaths)).GroupPaths);

        // Unbind.
        var unbound = await PostAsync("unbind", spare, 200, ContractsJson.Default.VfioUnbinding);
        Assert.True(unbound.Success, unbound.Message);
        Assert.Equal("e1000e", (await InfoAsync(PassthroughHost.SpareCard)).Driver);
        Assert.Equal(ErrorCodes.DeviceNotBound, (await PostAsync("group-paths", spare, 409, ContractsJson.Default.Problem)).Code);
    }

    private Task<VfioDeviceInfo> InfoAsync(string address) => PostAsync("info", $$"""{"pci_address": "{{address}}"}""", 200, ContractsJson.Default.VfioDeviceInfo);

    private async Task RefusedAsync(string address, int status, string code, string words)
    {
        var problem = await PostAsync("bind", $$"""{"pci_addresses": ["{{address}}"]}""", status, ContractsJson.Default.Problem);
        Assert.Equal(code, problem.Code);
        Assert.Contains(words, problem.Detail, StringComparison.Ordinal);
    }

    private async Task<T> PostAsync<T>(string route, string json, int status, JsonTypeInfo<T> type)
    {
        using var content = new StringContent(json, Encoding.UTF8, new MediaTypeHeaderValue("application/json"));
        using var response = await _host!.Client.PostAsync(Base + route, content, Cancel);
        var text = await response.Content.ReadAsStringAsync(Cancel);
        Assert.True((int)response.StatusCode == status, $"{route} {json}: {(int)response.StatusCode} {text}\n{_host.Console}");
        return JsonSerializer.Deserialize(text, type)!;
    }
}
