using CsCheck;
using Volant.Agent.Boot;
using Volant.Contracts.Boot;

namespace Volant.Tests.Agent;

public sealed class ModuleTests
{
    private const string Dependencies = """
        kernel/drivers/virtio/virtio.ko:
        kernel/drivers/virtio/virtio_ring.ko:
        kernel/drivers/virtio/virtio_mmio.ko: kernel/drivers/virtio/virtio.ko kernel/drivers/virtio/virtio_ring.ko
        kernel/drivers/net/virtio_net.ko: kernel/drivers/net/net_failover.ko kernel/net/core/failover.ko kernel/drivers/virtio/virtio.ko
        kernel/drivers/net/net_failover.ko: kernel/net/core/failover.ko
        kernel/net/core/failover.ko:
        kernel/drivers/char/hw_random/virtio-rng.ko: kernel/drivers/virtio/virtio.ko
        not a line
        """;

    [Theory]
    [InlineData("kernel/a/virtio-rng.ko", "virtio_rng")]
    [InlineData("virtio_net.ko.zst", "virtio_net")]
    [InlineData("x", "x")]
    public void A_file_tells_the_name_of_its_module(string path, string name) => Assert.Equal(name, ModuleIndex.NameOf(path));

    [Fact]
    public void What_a_module_needs_comes_before_it_and_everything_once()
    {
        var files = ModuleIndex.Parse(Dependencies).Resolve(["virtio_net", "virtio_mmio", "virtio_rng", "unknown", "virtio_net"]);

        Assert.Equal(
            ["virtio", "failover", "net_failover", "virtio_net", "virtio_ring", "virtio_mmio", "virtio_rng"],
            files.Select(ModuleIndex.NameOf));
    }

    [Fact]
    public void Cycles_and_missing_needs_do_no_harm()
    {
        var index = ModuleIndex.Parse("a.ko: b.ko\nb.ko: a.ko gone.ko\n");

        Assert.Equal(["gone.ko", "b.ko", "a.ko"], index.Resolve(["a"]));
    }

    [Fact]
    public void Every_order_is_topological() =>
        Gen.Int[0, 100].Array[2, 30].Sample(seeds =>
        {
            // Module i needs some of those before it, as depmod lists them: direct and indirect.
            var needs = new List<int[]>();
            for (var i = 0; i < seeds.Length; i++)
            {
                var direct = Enumerable.Range(0, i).Where(j => (seeds[i] + j) % 3 == 0).ToArray();
                needs.Add([.. direct.SelectMany(j => needs[j].Prepend(j)).Distinct()]);
            }

            var text = string.Join('\n', needs.Select((n, i) => $"m{i}.ko: {string.Join(' ', n.Select(j => $"m{j}.ko"))}"));
            var order = ModuleIndex.Parse(text).Resolve(Enumerable.Range(0, seeds.Length).Select(i => $"m{i}")).ToList();

            Assert.Equal(seeds.Length, order.Count);
            Assert.All(needs.Index(), n => Assert.All(n.Item, j => Assert.True(order.IndexOf($"m{j}.ko") < order.IndexOf($"m{n.Index}.ko"))));
        });

    [Fact]
    public void Failures_are_told_and_compressed_modules_are_told_once()
    {
        var root = Directory.CreateTempSubdirectory("volant-modules").FullName;
        try
        {
            var directory = Directory.CreateDirectory(Path.Combine(root, "6.1.0")).FullName;
            File.WriteAllText(Path.Combine(directory, "modules.dep"), "k/virtio_net.ko.xz:\nk/virtio_blk.ko.xz:\nk/virtio_console.ko:\nk/evdev.ko:\n");
            var loaded = new List<string>();
            var loader = new ModuleLoader(root, path =>
            {
                loaded.Add(path);
                if (path.EndsWith("evdev.ko", StringComparison.Ordinal))
                {
                    throw new System.ComponentModel.Win32Exception(8, "Loading evdev.ko: Exec format error");
                }
            });

            var problems = loader.Load("6.1.0", ["virtio_net", "virtio_blk", "virtio_console", "evdev"]);

            Assert.Equal(2, problems.Count);
            Assert.Contains("compressed", problems[0], StringComparison.Ordinal);
            Assert.Contains("Exec format error", problems[1], StringComparison.Ordinal);
            Assert.Equal([Path.Combine(directory, "k/virtio_console.ko"), Path.Combine(directory, "k/evdev.ko")], loaded);
            Assert.Empty(loader.Load("6.2.0", GuestModules.Essential));
        }
        finally
        {
            Directory.Delete(root, recursive: true);
        }
    }

    [Fact]
    public void Only_drivers_of_devices_that_are_there_are_loaded_buses_before_what_they_bring_to_light()
    {
        var root = Directory.CreateTempSubdirectory("volant-drivers").FullName;
        try
        {
            var modules = Directory.CreateDirectory(Path.Combine(root, "modules", "6.1.0")).FullName;
            File.WriteAllText(Path.Combine(modules, "modules.dep"), string.Concat(GuestModules.Essential.Select(name => $"{name}.ko: virtio.ko\n")) + "virtio.ko:\n");
            Give("pci", "0000:00:01.0", "pci:v00001AF4d00001041sv00001AF4sd00001100bc02sc00i00");
            Give("acpi", "PNP0C0C:00", "acpi:PNP0C0C:");
            Give("acpi", "device:01", null);
            var loaded = new List<string>();
            var loader = new ModuleLoader(Path.Combine(root, "modules"), path =>
            {
                loaded.Add(Path.GetFileNameWithoutExtension(path));
                if (loaded[^1] == "virtio_pci")
                {
                    Give("virtio", "virtio0", "virtio:d00000001v00001AF4");
                }
            });

            Assert.Empty(loader.LoadDrivers("6.1.0", GuestModules.Drivers, new DeviceAliases(root)));

            Assert.Equal(["virtio", "virtio_mmio", "virtio_pci", "button", "evdev", "virtio_net"], loaded);
        }
        finally
        {
            Directory.Delete(root, recursive: true);
        }

        void Give(string bus, string device, string? alias)
        {
            var directory = Directory.CreateDirectory(Path.Combine(root, "bus", bus, "devices", device)).FullName;
            if (alias is not null)
            {
                File.WriteAllText(Path.Combine(directory, "modalias"), alias + "\n");
            }
        }
    }

    [Fact]
    public void The_virtio_port_is_found_by_its_name()
    {
        var root = Directory.CreateTempSubdirectory("volant-ports").FullName;
        try
        {
            Assert.Null(Volant.Agent.Transport.VirtioPort.Find(Path.Combine(root, "none"), root));
            foreach (var (port, name) in new[] { ("vport0p0", "org.other"), ("vport0p1", GuestLink.PortName) })
            {
                Directory.CreateDirectory(Path.Combine(root, "class", port));
                File.WriteAllText(Path.Combine(root, "class", port, "name"), name + "\n");
            }

            Assert.Null(Volant.Agent.Transport.VirtioPort.Find(Path.Combine(root, "class"), root));
            File.WriteAllText(Path.Combine(root, "vport0p1"), string.Empty);
            Assert.Equal(Path.Combine(root, "vport0p1"), Volant.Agent.Transport.VirtioPort.Find(Path.Combine(root, "class"), root));
        }
        finally
        {
            Directory.Delete(root, recursive: true);
        }
    }
}
