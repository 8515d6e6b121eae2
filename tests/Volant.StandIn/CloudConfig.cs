using System.Text.Json;

namespace Volant.StandIn;

/// <summary>What Cloud Hypervisor refuses in a VM's description when it is created, as far as the daemon could get it wrong.</summary>
/// <remarks>
/// Source: Cloud Hypervisor, vmm/src/vm_config.rs and config.rs (validation). Members that the real one does not know are passed over there and
/// refused here: a misspelt one must not go unnoticed.
/// </remarks>
internal static class CloudConfig
{
    private static readonly string[] Members =
    [
        "payload", "cpus", "memory", "disks", "vsock", "serial", "console", "rng", "balloon", "devices", "platform", "iommu", "watchdog", "pvpanic",
        "landlock_enable", "landlock_rules",
    ];

    private static readonly string[] NetMembers = ["mac", "id", "num_queues", "queue_size"];

    /// <summary>Refuses it or not.</summary>
    /// <exception cref="CloudRefusal">It would not run.</exception>
    public static void Check(JsonElement vm)
    {
        foreach (var member in vm.EnumerateObject())
        {
            Demand(Members.Contains(member.Name), $"unknown field `{member.Name}`");
        }

        var payload = Get(vm, "payload");
        foreach (var file in (string[])["kernel", "initramfs"])
        {
            Demand(!payload.TryGetProperty(file, out var path) || File.Exists(path.GetString()), $"Cannot open {file}");
        }

        var cpus = Get(vm, "cpus");
        Demand(Number(cpus, "boot_vcpus") is >= 1 and var boot && boot <= Number(cpus, "max_vcpus"), "Max CPUs lower than boot CPUs");
        Demand(Number(Get(vm, "memory"), "size") > 0, "Memory size is zero");
        Demand(Text(Get(vm, "serial"), "mode") == "Socket" && Text(Get(vm, "serial"), "socket").StartsWith('/'), "Path missing when using socket mode");
        Demand(Text(Get(vm, "console"), "mode") is "Off" or "Null", "A console without a terminal");
        Demand(File.Exists(Text(Get(vm, "rng"), "src")), "Cannot open the source of random numbers");
        if (vm.TryGetProperty("vsock", out var vsock))
        {
            Demand(Number(vsock, "cid") >= 3 && Text(vsock, "socket").StartsWith('/'), "Invalid CID or socket of vsock");
        }

        foreach (var disk in List(vm, "disks"))
        {
            Demand(Text(disk, "image_type") is "Raw" or "Qcow2", "Unknown image type");
            Demand(File.Exists(Text(disk, "path")), "Cannot open disk path");
            Demand(Text(disk, "serial").Length <= 20, "The serial number is too long");
        }

        foreach (var rule in List(vm, "landlock_rules"))
        {
            Demand(Text(rule, "access") is "r" or "w" or "rw" && Text(rule, "path").StartsWith('/'), "Invalid Landlock rule");
        }
    }

    /// <summary>Refuses a network card or not.</summary>
    /// <param name="net">Its description.</param>
    /// <param name="descriptors">What came with it, one for each pair of queues.</param>
    /// <exception cref="CloudRefusal">It would not run.</exception>
    public static void CheckNet(JsonElement net, IReadOnlyList<int> descriptors)
    {
        foreach (var member in net.EnumerateObject())
        {
            Demand(NetMembers.Contains(member.Name), $"unknown field `{member.Name}`");
        }

        Demand(Text(net, "mac").Split(':').Length == 6 && Text(net, "id").Length > 0, "Invalid network device");
        Demand(Number(net, "num_queues") == 2 * descriptors.Count, "Number of queues to virtio_net does not match the number of FDs");
        Demand(descriptors.All(LibC.IsTap), "Error creating TAP from FD");
    }

    private static IEnumerable<JsonElement> List(JsonElement vm, string name) => vm.TryGetProperty(name, out var list) ? list.EnumerateArray() : [];

    private static JsonElement Get(JsonElement parent, string name) =>
        parent.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.Object ? value : throw Refusal($"missing field `{name}`");

    private static long Number(JsonElement parent, string name) =>
        parent.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.Number ? value.GetInt64() : throw Refusal($"missing field `{name}`");

    private static string Text(JsonElement parent, string name) =>
        parent.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.String ? value.GetString()! : throw Refusal($"missing field `{name}`");

    private static void Demand(bool condition, string message)
    {
        if (!condition)
        {
            throw Refusal(message);
        }
    }

    private static CloudRefusal Refusal(string message) => new(400, "Error from API", "The VM could not be created", message);
}
