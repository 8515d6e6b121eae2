using Volant.Contracts;
using Volant.Contracts.Api;

namespace Volant.Tests.Api;

/// <summary><c>/api/v1/vfio/devices</c> on a stand-in for sysfs.</summary>
public sealed class VfioTests : IAsyncLifetime
{
    private const string Nic = "0000:01:00.0";
    private const string Twin = "0000:01:00.1";
    private const string Foreign = "0000:03:00.0";
    private const string Base = "/api/v1/vfio/devices/";

    private ApiFixture _api = null!;

    public static TheoryData<string> Routes => ["info", "validate", "iommu-groups", "bind", "unbind", "group-paths"];

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        _api = await ApiFixture.StartAsync(new Dictionary<string, string>(StringComparer.Ordinal) { ["VOLANT_VFIO_ALLOW"] = "8086:10d3" });
        _api.Host.AddDevice(Nic, group: 7);
        _api.Host.AddDevice(Twin, group: 7);
        _api.Host.AddDevice("0000:00:01.0", group: 7, driver: "pcieport", id: "8086:0001", @class: "0x060400");
        _api.Host.AddDevice(Foreign, group: 9, driver: "nvidia", id: "10de:2204", @class: "0x030000");
        _api.Host.Set(Foreign, "numa_node", "1\n");
    }

    public ValueTask DisposeAsync() => _api.DisposeAsync();

    [Fact]
    public async Task Info_tells_ids_driver_group_and_node()
    {
        using var nic = await PostAsync("info", $$"""{"pci_address": "{{Nic}}"}""");
        using var graphics = await PostAsync("info", $$"""{"pci_address": "{{Foreign}}"}""");
        using var none = await PostAsync("info", """{"pci_address": "0000:77:00.0"}""");

        Assert.Equal(
            new VfioDeviceInfo { Address = Nic, Vendor = "8086", Device = "10d3", Driver = "e1000e", IommuGroup = "7", NumaNode = "-1" },
            await ApiFixture.ReadAsync(nic, 200, ContractsJson.Default.VfioDeviceInfo));
        Assert.Equal("1", (await ApiFixture.ReadAsync(graphics, 200, ContractsJson.Default.VfioDeviceInfo)).NumaNode);
        Assert.Equal(ErrorCodes.DeviceNotFound, (await ApiFixture.ReadAsync(none, 404, ContractsJson.Default.Problem)).Code);
    }

    [Fact]
    public async Task Groups_are_listed_with_every_device_bridges_included()
    {
        using var some = await PostAsync("iommu-groups", $$"""{"pci_addresses": ["{{Twin}}", "{{Nic}}"]}""");
        using var all = await PostAsync("iommu-groups", "{}");

        var group = Assert.Single(await ApiFixture.ReadAsync(some, 200, ContractsJson.Default.IReadOnlyListVfioGroup));
        Assert.Equal("7", group.Id);
        Assert.Equal(["0000:00:01.0", Nic, Twin], group.Devices);
        Assert.Equal(["7", "9"], (await ApiFixture.ReadAsync(all, 200, ContractsJson.Default.IReadOnlyListVfioGroup)).Select(found => found.Id));
    }

    [Fact]
    public async Task Bind_takes_whole_groups_survives_a_restart_and_unbind_gives_them_back()
    {
        using (var early = await PostAsync("group-paths", $$"""{"pci_addresses": ["{{Nic}}"]}"""))
        {
            Assert.Equal(ErrorCodes.DeviceNotBound, (await ApiFixture.ReadAsync(early, 409, ContractsJson.Default.Problem)).Code);
        }

        using var bound = await PostAsync("bind", $$"""{"pci_addresses": ["{{Nic}}"]}""");
        var binding = await ApiFixture.ReadAsync(bound, 200, ContractsJson.Default.VfioBinding);
        Assert.True(binding.Success);
        Assert.Equal([Nic, Twin], binding.BoundDevices);
        await _api.RestartAsync();

        using var again = await PostAsync("bind", $$"""{"pci_addresses": ["{{Twin}}"]}""");
        Assert.Equal([Nic, Twin], (await ApiFixture.ReadAsync(again, 200, ContractsJson.Default.VfioBinding)).BoundDevices);
        using var paths = await PostAsync("group-paths", $$"""{"pci_addresses": ["{{Nic}}", "{{Twin}}"]}""");
        Assert.Equal(["/dev/vfio/7"], (await ApiFixture.ReadAsync(paths, 200, ContractsJson.Default.VfioGroupPaths)).GroupPaths);

        using var unbound = await PostAsync("unbind", $$"""{"pci_addresses": ["{{Nic}}"]}""");
        var unbinding = await ApiFixture.ReadAsync(unbound, 200, ContractsJson.Default.VfioUnbinding);
        Assert.True(unbinding.Success, unbinding.Message);
        Assert.Equal([Nic, Twin], unbinding.UnboundDevices);
        Assert.Equal(("e1000e", "e1000e"), (_api.Host.DriverOf(Nic), _api.Host.DriverOf(Twin)));
        using var twice = await PostAsync("unbind", $$"""{"pci_addresses": ["{{Nic}}"]}""");
        Assert.Equal(ErrorCodes.DeviceNotBound, (await ApiFixture.ReadAsync(twice, 409, ContractsJson.Default.Problem)).Code);
    }

    [Fact]
    public async Task A_driver_that_does_not_take_its_device_back_is_no_success()
    {
        using (var bound = await PostAsync("bind", $$"""{"pci_addresses": ["{{Nic}}"]}"""))
        {
            Assert.True(bound.IsSuccessStatusCode);
        }

        _api.Host.Refusals.Add(("e1000e", Twin));
        using var unbound = await PostAsync("unbind", $$"""{"pci_addresses": ["{{Nic}}"]}""");

        var unbinding = await ApiFixture.ReadAsync(unbound, 200, ContractsJson.Default.VfioUnbinding);
        Assert.False(unbinding.Success);
        Assert.Contains($"{Twin} (e1000e)", unbinding.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_bind_that_fails_half_way_is_undone_and_can_be_tried_again()
    {
        _api.Host.Refusals.Add(("vfio-pci", Twin));
        using (var failed = await PostAsync("bind", $$"""{"pci_addresses": ["{{Nic}}"]}"""))
        {
            Assert.Equal(ErrorCodes.DeviceUnavailable, (await ApiFixture.ReadAsync(failed, 503, ContractsJson.Default.Problem)).Code);
        }

        Assert.Equal(("e1000e", "e1000e"), (_api.Host.DriverOf(Nic), _api.Host.DriverOf(Twin)));
        _api.Host.Refusals.Clear();
        using var bound = await PostAsync("bind", $$"""{"pci_addresses": ["{{Nic}}"]}""");
        Assert.True(bound.IsSuccessStatusCode);
    }

    [Fact]
    public async Task Validate_lists_every_reason_and_bind_refuses_with_the_same_by_field()
    {
        await File.WriteAllTextAsync(_api.Host.AddChild(Nic, "net/vtestnic0", "net") + "/flags", "0x1003", TestContext.Current.CancellationToken);
        const string Body = $$"""{"pci_addresses": ["{{Nic}}", "{{Foreign}}", "0000:77:00.0"]}""";
        using var checkedOnly = await PostAsync("validate", Body);
        using var bound = await PostAsync("bind", Body);
        using var narrowed = await PostAsync("bind", $$"""{"pci_addresses": ["{{Twin}}"], "allowlist": ["10de:*"]}""");

        var validation = await ApiFixture.ReadAsync(checkedOnly, 200, ContractsJson.Default.VfioValidation);
        Assert.False(validation.Valid);
        Assert.Equal(3, validation.Errors!.Count);
        Assert.Contains($"{Nic} holds the network interface 'vtestnic0', which is up", validation.Errors);
        var problem = await ApiFixture.ReadAsync(bound, 409, ContractsJson.Default.Problem);
        Assert.Equal(["pci_addresses[0]", "pci_addresses[1]", "pci_addresses[2]"], problem.Errors!.Keys.Order(StringComparer.Ordinal));
        Assert.Equal(ErrorCodes.DeviceNotAllowed, (await ApiFixture.ReadAsync(narrowed, 422, ContractsJson.Default.Problem)).Code);
        Assert.Empty(_api.Host.Writes);
    }

    [Fact]
    public async Task Validate_says_yes_to_what_can_be_bound_and_names_the_VM_that_holds_it_otherwise()
    {
        await _api.InstallAsync();
        using (var free = await PostAsync("validate", $$"""{"pci_addresses": ["{{Nic}}"], "allowlist": ["8086:*"]}"""))
        {
            Assert.True((await ApiFixture.ReadAsync(free, 200, ContractsJson.Default.VfioValidation)).Valid);
        }

        await _api.CreateAsync("web", config: $$$"""{"devices": {"pci_passthrough": ["{{{Nic}}}"]}}""");
        using var held = await PostAsync("validate", $$"""{"pci_addresses": ["{{Nic}}"]}""");
        using var bind = await PostAsync("bind", $$"""{"pci_addresses": ["{{Nic}}"]}""");
        using var unbind = await PostAsync("unbind", $$"""{"pci_addresses": ["{{Nic}}"]}""");

        Assert.Contains($"{Nic} is held by VM 'web'", (await ApiFixture.ReadAsync(held, 200, ContractsJson.Default.VfioValidation)).Errors!);
        Assert.Equal(ErrorCodes.DeviceInUse, (await ApiFixture.ReadAsync(bind, 409, ContractsJson.Default.Problem)).Code);
        Assert.Equal(ErrorCodes.DeviceNotBound, (await ApiFixture.ReadAsync(unbind, 409, ContractsJson.Default.Problem)).Code);
        using var deleted = await _api.SendAsync(HttpMethod.Delete, "/api/v1/vms/web");
        Assert.Equal(204, (int)deleted.StatusCode);
        Assert.Equal("e1000e", _api.Host.DriverOf(Nic));
    }

    [Theory]
    [MemberData(nameof(Routes))]
    public async Task A_malformed_address_is_named(string route)
    {
        var body = route == "info" ? """{"pci_address": "../../etc"}""" : """{"pci_addresses": ["0000:01:00.0", "0000:1:0.0", null, "0000:01:00.0"], "allowlist": ["x"]}""";
        using var response = await PostAsync(route, body);

        var problem = await ApiFixture.ReadAsync(response, 400, ContractsJson.Default.Problem);
        Assert.Equal(
            route == "info" ? ["pci_address"] : ["allowlist[0]", "pci_addresses[1]", "pci_addresses[2]", "pci_addresses[3]"],
            problem.Errors!.Keys.Order(StringComparer.Ordinal));
    }

    [Theory]
    [MemberData(nameof(Routes))]
    public async Task Without_an_IOMMU_every_route_says_so_or_tells_what_there_is(string route)
    {
        await using var bare = await ApiFixture.StartAsync(new Dictionary<string, string>(StringComparer.Ordinal) { ["VOLANT_VFIO_ALLOW"] = "8086:*" });
        bare.Host.AddDevice(Nic, group: null);
        using var response = await bare.SendAsync(HttpMethod.Post, Base + route, route == "info" ? $$"""{"pci_address": "{{Nic}}"}""" : $$"""{"pci_addresses": ["{{Nic}}"]}""");
        var text = await response.Content.ReadAsStringAsync(Cancel);

        Assert.Equal(route switch { "info" or "validate" => 200, "unbind" or "group-paths" => 409, _ => 422 }, (int)response.StatusCode);
        Assert.True(route is "info" or "unbind" or "group-paths" || text.Contains("IOMMU", StringComparison.Ordinal), text);
    }

    [Fact]
    public async Task A_VM_with_a_device_is_refused_on_a_host_without_IOMMU()
    {
        await using var bare = await ApiFixture.StartAsync();
        await bare.InstallAsync();
        using var response = await bare.SendAsync(HttpMethod.Post, "/api/v1/vms", $$$$"""{"name": "web", "plugin": "hello", "config": {"devices": {"pci_passthrough": ["{{{{Nic}}}}"]}}}""");

        var problem = await ApiFixture.ReadAsync(response, 422, ContractsJson.Default.Problem);
        Assert.Contains("no IOMMU groups", problem.Detail, StringComparison.Ordinal);
        Assert.Equal("[]", await bare.Client.GetStringAsync("/api/v1/vms", Cancel));
    }

    private Task<HttpResponseMessage> PostAsync(string route, string json) => _api.SendAsync(HttpMethod.Post, Base + route, json);
}
