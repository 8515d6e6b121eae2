using System.IO.Compression;
using System.Text.Json;

namespace Volant.Tests.Fledge;

public sealed class ModulesCommandTests
{
    private const string Release = "6.1.0-9-test";

    [Fact]
    public async Task The_wanted_modules_are_listed_and_packing_needs_root_and_output()
    {
        using var tree = Kernel();

        var list = await FledgeRun.RunAsync(tree, "modules", "--list");
        var refused = await FledgeRun.RunAsync(tree, "modules");

        Assert.Equal(0, list.ExitCode);
        Assert.Contains("\nbtrfs\n", list.Out, StringComparison.Ordinal);
        Assert.StartsWith("virtio_mmio\n", list.Out, StringComparison.Ordinal);
        Assert.NotEqual(0, refused.ExitCode);
        Assert.Contains("--root", refused.Error, StringComparison.Ordinal);
        Assert.Contains("--output", refused.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Wanted_modules_are_packed_with_their_dependencies_and_a_reduced_index()
    {
        using var tree = Kernel();

        var run = await FledgeRun.RunAsync(tree, "modules", "--root", tree["root"], "--output", tree["m.cpio"], "--json");

        Assert.Equal((0, string.Empty), (run.ExitCode, run.Error));
        var members = Newc.Read(await File.ReadAllBytesAsync(tree["m.cpio"], TestContext.Current.CancellationToken)).ToDictionary(member => member.Path, StringComparer.Ordinal);
        const string Prefix = $"lib/modules/{Release}";
        Assert.Equal(
            ["virtio-rng.ko", "virtio.ko", "virtio_blk.ko", "virtio_ring.ko"],
            members.Keys.Where(path => path.EndsWith(".ko", StringComparison.Ordinal)).Select(path => Path.GetFileName(path)).Order(StringComparer.Ordinal),
            StringComparer.Ordinal);
        Assert.Equal(
            "kernel/drivers/virtio-rng.ko: kernel/drivers/virtio.ko kernel/drivers/virtio_ring.ko\nkernel/drivers/virtio.ko: kernel/drivers/virtio_ring.ko\n" +
            "kernel/drivers/virtio_blk.ko:\nkernel/drivers/virtio_ring.ko:\n",
            members[$"{Prefix}/modules.dep"].Text);
        Assert.Equal("kernel/drivers/button.ko\n", members[$"{Prefix}/modules.builtin"].Text);
        Assert.Equal(["plain ring", "zipped rng", "plain blk"], new[] { "virtio_ring", "virtio-rng", "virtio_blk" }.Select(name => members[$"{Prefix}/kernel/drivers/{name}.ko"].Text), StringComparer.Ordinal);
        Assert.Equal(('d', 0x1EDu), (members["lib"].Kind, members["lib"].Permissions));
        Assert.Equal(0, new FileInfo(tree["m.cpio"]).Length % 4);
        var result = JsonDocument.Parse(run.Out).RootElement;
        Assert.Equal(("button", Release), (result.GetProperty("builtin")[0].GetString(), result.GetProperty("release").GetString()));
        Assert.Contains("virtio_net", result.GetProperty("missing").EnumerateArray().Select(name => name.GetString()!), StringComparer.Ordinal);
    }

    [Fact]
    public async Task File_systems_of_root_disks_come_with_the_others_when_asked_for()
    {
        using var tree = Kernel();

        var run = await FledgeRun.RunAsync(tree, "modules", "--root", tree["root"], "--output", tree["m.cpio"], "--root-disk");

        Assert.Equal(0, run.ExitCode);
        var members = Newc.Read(await File.ReadAllBytesAsync(tree["m.cpio"], TestContext.Current.CancellationToken)).ToDictionary(member => member.Path, StringComparer.Ordinal);
        const string Prefix = $"lib/modules/{Release}";
        Assert.Equal("plain xfs", members[$"{Prefix}/kernel/fs/xfs/xfs.ko"].Text);
        Assert.Contains($"{Prefix}/kernel/drivers/virtio_blk.ko", members.Keys, StringComparer.Ordinal);
        Assert.Contains("kernel/fs/xfs/xfs.ko:\n", members[$"{Prefix}/modules.dep"].Text, StringComparison.Ordinal);
        Assert.Equal("kernel/drivers/button.ko\nkernel/fs/ext4/ext4.ko\n", members[$"{Prefix}/modules.builtin"].Text);
    }

    [Fact]
    public async Task Modules_compressed_with_xz_and_zstd_are_unpacked()
    {
        using var tree = Kernel();
        await Spawned.RunAsync(tree, null, "/usr/bin/xz", "-q", tree[$"root/lib/modules/{Release}/kernel/drivers/virtio_blk.ko"]);
        await Spawned.RunAsync(tree, null, "/usr/bin/zstd", "-q", "--rm", tree[$"root/lib/modules/{Release}/kernel/drivers/virtio_ring.ko"]);

        var dep = tree[$"root/lib/modules/{Release}/modules.dep"];
        await File.WriteAllTextAsync(
            dep,
            (await File.ReadAllTextAsync(dep, TestContext.Current.CancellationToken)).Replace("blk.ko", "blk.ko.xz", StringComparison.Ordinal).Replace("ring.ko", "ring.ko.zst", StringComparison.Ordinal),
            TestContext.Current.CancellationToken);

        var run = await FledgeRun.RunAsync(tree, "modules", "--root", tree["root"], "--release", Release, "--output", tree["m.cpio"]);

        Assert.Equal(0, run.ExitCode);
        var members = Newc.Read(await File.ReadAllBytesAsync(tree["m.cpio"], TestContext.Current.CancellationToken));
        Assert.Equal(["plain blk", "plain ring"], members.Where(member => member.Path.EndsWith("blk.ko", StringComparison.Ordinal) || member.Path.EndsWith("ring.ko", StringComparison.Ordinal)).Select(member => member.Text), StringComparer.Ordinal);
        Assert.Contains("kernel/drivers/virtio.ko: kernel/drivers/virtio_ring.ko\n", members.Single(member => member.Path.EndsWith("modules.dep", StringComparison.Ordinal)).Text, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(false, "plain blk")]
    [InlineData(true, "plain blk123458 octets\0\0\0\u0005~Module signature appended~\n")]
    public async Task Signatures_are_left_out_unless_they_are_asked_for(bool keep, string expected)
    {
        using var tree = Kernel();
        tree.Write($"root/lib/modules/{Release}/kernel/drivers/virtio_blk.ko", "plain blk123458 octets\0\0\0\u0005~Module signature appended~\n");

        var run = await FledgeRun.RunAsync(tree, ["modules", "--root", tree["root"], "--output", tree["m.cpio"], .. keep ? ["--keep-signatures"] : Array.Empty<string>()]);

        Assert.Equal(0, run.ExitCode);
        var members = Newc.Read(await File.ReadAllBytesAsync(tree["m.cpio"], TestContext.Current.CancellationToken));
        Assert.Equal(expected, members.Single(member => member.Path.EndsWith("virtio_blk.ko", StringComparison.Ordinal)).Text);
    }

    [Theory]
    [InlineData("~Module signature appended~\n")]
    [InlineData("short12345678\0\0\0\u0001~Module signature appended~ ")]
    [InlineData("too long a signature\u00ff\u00ff\u00ff\u00ff~Module signature appended~\n")]
    public async Task A_signature_that_makes_no_sense_is_part_of_the_module(string module)
    {
        using var tree = Kernel();
        await File.WriteAllBytesAsync(tree[$"root/lib/modules/{Release}/kernel/drivers/virtio_blk.ko"], System.Text.Encoding.Latin1.GetBytes(module), TestContext.Current.CancellationToken);

        await FledgeRun.RunAsync(tree, "modules", "--root", tree["root"], "--output", tree["m.cpio"]);

        var members = Newc.Read(await File.ReadAllBytesAsync(tree["m.cpio"], TestContext.Current.CancellationToken));
        Assert.Equal(module.Length, members.Single(member => member.Path.EndsWith("virtio_blk.ko", StringComparison.Ordinal)).Content.Length);
    }

    [Fact]
    public async Task The_same_tree_gives_the_same_bytes()
    {
        using TempTree first = Kernel(), second = Kernel();

        await FledgeRun.RunAsync(first, "modules", "--root", first["root"], "--output", first["m.cpio"]);
        await FledgeRun.RunAsync(second, "modules", "--root", second["root"], "--output", second["m.cpio"]);

        Assert.Equal(
            await File.ReadAllBytesAsync(first["m.cpio"], TestContext.Current.CancellationToken),
            await File.ReadAllBytesAsync(second["m.cpio"], TestContext.Current.CancellationToken));
    }

    [Fact]
    public async Task A_damaged_module_is_refused_and_nothing_is_left()
    {
        using var tree = Kernel();
        tree.Write($"root/lib/modules/{Release}/kernel/drivers/virtio-rng.ko.gz", "not gzip");

        var run = await FledgeRun.RunAsync(tree, "modules", "--root", tree["root"], "--output", tree["out/m.cpio"]);

        Assert.Equal(1, run.ExitCode);
        Assert.Contains("is damaged", run.Error, StringComparison.Ordinal);
        Assert.Empty(tree.Names("out"));
    }

    [Theory]
    [InlineData("modules.dep", null, "make it with: depmod -b")]
    [InlineData("modules.dep", "no colon\n", "has no 'module: dependencies' in line 1")]
    [InlineData("modules.dep", "../../../etc/passwd:\n", "which lies outside its directory")]
    [InlineData("modules.dep", "kernel/fs/none.ko:\n", "has none of the modules that a guest needs")]
    [InlineData("modules.dep", "kernel/virtio_blk.ko:\n", "which does not exist; unpack the whole kernel package")]
    public async Task A_useless_index_is_refused(string file, string? content, string expected)
    {
        using var tree = Kernel();
        File.Delete(tree[$"root/lib/modules/{Release}/{file}"]);
        File.Delete(tree[$"root/lib/modules/{Release}/modules.builtin"]);
        if (content is not null)
        {
            tree.Write($"root/lib/modules/{Release}/{file}", content);
        }

        var run = await FledgeRun.RunAsync(tree, "modules", "--root", tree["root"], "--output", tree["out/m.cpio"]);

        Assert.Equal(1, run.ExitCode);
        Assert.Contains(expected, run.Error, StringComparison.Ordinal);
        Assert.Empty(tree.Names("out"));
    }

    [Fact]
    public async Task An_unclear_release_is_refused()
    {
        using var tree = Kernel();
        tree.Make("root/lib/modules/6.2.0");

        var several = await FledgeRun.RunAsync(tree, "modules", "--root", tree["root"], "--output", tree["m.cpio"]);
        var unknown = await FledgeRun.RunAsync(tree, "modules", "--root", tree["root"], "--release", "5.0", "--output", tree["m.cpio"]);
        var nowhere = await FledgeRun.RunAsync(tree, "modules", "--root", tree["out"], "--output", tree["m.cpio"]);

        Assert.Contains($"holds 2 kernel releases ({Release}, 6.2.0); choose one with --release", several.Error, StringComparison.Ordinal);
        Assert.Contains("has no kernel release '5.0'", unknown.Error, StringComparison.Ordinal);
        Assert.Contains("There is no 'lib/modules' below", nowhere.Error, StringComparison.Ordinal);
    }

    private static TempTree Kernel()
    {
        var tree = new TempTree();
        tree.Make("out");
        const string Modules = $"root/lib/modules/{Release}";
        tree.Write($"{Modules}/kernel/drivers/virtio_ring.ko", "plain ring");
        tree.Write($"{Modules}/kernel/drivers/virtio.ko", "plain virtio");
        tree.Write($"{Modules}/kernel/drivers/virtio_blk.ko", "plain blk");
        tree.Write($"{Modules}/kernel/drivers/unwanted.ko", "plain unwanted");
        tree.Write($"{Modules}/kernel/fs/xfs/xfs.ko", "plain xfs");
        tree.Write($"{Modules}/kernel/drivers/virtio-rng.ko.gz", Zip("zipped rng"));
        tree.Write(
            $"{Modules}/modules.dep",
            "kernel/drivers/virtio_blk.ko:\nkernel/drivers/unwanted.ko: kernel/drivers/virtio.ko\nkernel/drivers/virtio.ko: kernel/drivers/virtio_ring.ko\n" +
            "kernel/drivers/virtio-rng.ko.gz: kernel/drivers/virtio.ko kernel/drivers/virtio_ring.ko\nkernel/drivers/virtio_ring.ko:\nkernel/fs/xfs/xfs.ko:\n");
        tree.Write($"{Modules}/modules.builtin", "kernel/drivers/button.ko\nkernel/fs/ext4/ext4.ko\n");
        return tree;
    }

    private static byte[] Zip(string text)
    {
        using var bytes = new MemoryStream();
        using (var zip = new GZipStream(bytes, CompressionLevel.Fastest))
        {
            zip.Write(System.Text.Encoding.ASCII.GetBytes(text));
        }

        return bytes.ToArray();
    }
}
