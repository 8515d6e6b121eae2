using System.Globalization;
using System.Text;
using Volant.Fledge;
using Volant.Fledge.Rootfs;
using Volant.Fledge.Rootfs.Ext4;
using Volant.Fledge.Tar;

namespace Volant.Tests.Fledge;

/// <summary>Trees of every odd shape as ext4: the checker finds nothing, and what was put in comes out.</summary>
public sealed class Ext4WriterTests
{
    private const long Mib = 1 << 20;

    [Fact]
    public async Task A_tree_with_nothing_in_it_is_a_file_system()
    {
        using var files = new TempTree();

        var image = await WriteAsync(files, (_, _) => { });

        Assert.Equal(["lost+found"], await image.NamesAsync("/"));
        Assert.Contains("Inode: 11 ", await image.StatAsync("/lost+found"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Every_size_around_the_end_of_a_group_is_consistent()
    {
        using var files = new TempTree();
        foreach (var mib in Enumerable.Range(115, 14).Concat([246, 250, 255, 256, 1020, 5000]))
        {
            await WriteAsync(files, (tree, store) => Add(tree, "f", File(store, "x")), mib * Mib);
        }
    }

    [Fact]
    public void A_geometry_holds_what_is_asked_for()
    {
        var random = new Random(11);
        for (var i = 0; i < 20_000; i++)
        {
            var used = random.NextInt64(Ext4Format.FirstContentBlock, 1L << random.Next(8, 24));
            var (inodes, free) = (random.NextInt64(11, 1_000_011), random.NextInt64(0, 1L << random.Next(1, 22)));

            var found = Ext4Geometry.For(used, inodes, free, free * Ext4Format.BlockBytes);

            Assert.InRange(found.TotalBlocks, ((found.Groups - 1L) * Ext4Format.BlocksPerGroup) + 1, (long)found.Groups * Ext4Format.BlocksPerGroup);
            Assert.True(found.TotalBlocks - found.FirstTableBlock - found.MetadataBlocks >= free);
            Assert.True((long)found.Groups * found.InodesPerGroup > inodes);
            Assert.Equal((used, 0), (found.FirstTableBlock, found.InodesPerGroup % Ext4Format.InodesPerBlock));
        }

        Assert.Throws<FledgeException>(() => Ext4Geometry.For(1L << 33, 11, 0, 0));
    }

    [Fact]
    public async Task Fifty_thousand_files_in_one_directory_and_as_many_in_many_are_all_found()
    {
        using var files = new TempTree();

        var image = await WriteAsync(files, (tree, store) =>
        {
            for (var i = 0; i < 50_000; i++)
            {
                Add(tree, string.Create(CultureInfo.InvariantCulture, $"one/a-file-with-a-name-{i:00000}"), File(store, $"{i}"));
                Add(tree, string.Create(CultureInfo.InvariantCulture, $"many/{i % 100}/{i / 100 % 10}/{i}"), new RootNode { Kind = TarKind.File });
            }
        });

        Assert.Equal(50_000, (await image.NamesAsync("/one")).Length);
        Assert.Equal("49900", Encoding.UTF8.GetString(await image.ReadAsync("/one/a-file-with-a-name-49900")));
        Assert.Equal(50, (await image.NamesAsync("/many/99/9")).Length);
    }

    [Fact]
    public async Task A_thousand_directories_below_each_other_are_all_there()
    {
        using var files = new TempTree();

        var image = await WriteAsync(files, (tree, store) => Add(tree, string.Concat(Enumerable.Repeat("d/", 1000)) + "f", File(store, "deep")));

        Assert.Equal("deep", Encoding.UTF8.GetString(await image.ReadAsync("/" + string.Concat(Enumerable.Repeat("d/", 1000)) + "f")));
    }

    [Fact]
    public async Task A_directory_may_have_more_subdirectories_than_links()
    {
        using var files = new TempTree();

        var image = await WriteAsync(files, (tree, _) =>
        {
            for (var i = 0; i < 65_100; i++)
            {
                Add(tree, string.Create(CultureInfo.InvariantCulture, $"d/{i}"), RootNode.NewDirectory(0x1ED));
            }
        });

        Assert.Contains("Links: 1 ", await image.StatAsync("/d"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Names_of_every_length_and_of_any_bytes_are_kept()
    {
        using var files = new TempTree();
        var names = Enumerable.Range(1, 255).Select(length => new string('n', length)).ToArray();
        var odd = Encoding.Latin1.GetString([.. Enumerable.Range(1, 255).Where(b => b != '/').Select(b => (byte)b)]);

        var image = await WriteAsync(files, (tree, store) =>
        {
            foreach (var name in names.Append(odd))
            {
                Add(tree, $"names/{name}", File(store, name));
            }
        });

        Assert.Equal(names, (await image.NamesAsync("/names")).Where(name => name.All(c => c == 'n')).Order(StringComparer.Ordinal));
        Assert.Equal(names[254], Encoding.UTF8.GetString(await image.ReadAsync($"/names/{names[254]}")));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(59)]
    [InlineData(60)]
    [InlineData(61)]
    [InlineData(4094)]
    [InlineData(4095)]
    public async Task A_link_target_of_any_length_is_kept(int length)
    {
        using var files = new TempTree();
        var target = new string('t', length);

        var image = await WriteAsync(files, (tree, _) =>
        {
            Add(tree, "plain", new RootNode { Kind = TarKind.SymbolicLink, LinkTarget = target, Permissions = 0x1FF });
            Add(tree, "labelled", new RootNode { Kind = TarKind.SymbolicLink, LinkTarget = target, Permissions = 0x1FF, Attributes = new(StringComparer.Ordinal) { ["security.selinux"] = new byte[300] } });
        });

        var stat = await image.StatAsync("/plain");
        Assert.Contains($"Size: {length} ", stat, StringComparison.Ordinal);
        Assert.Equal(length < 60, stat.Contains($"Fast link dest: \"{target}\"", StringComparison.Ordinal));
        Assert.Contains("security.selinux (300)", await image.StatAsync("/labelled"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_file_has_as_many_names_as_the_format_allows_and_one_more_is_refused()
    {
        using var files = new TempTree();

        var image = await WriteAsync(files, (tree, store) => Fill(tree, store, 65_000));

        Assert.Contains("Links: 65000 ", await image.StatAsync("/l/64999"), StringComparison.Ordinal);
        var failure = await Assert.ThrowsAsync<FledgeException>(() => WriteAsync(files, (tree, store) => Fill(tree, store, 65_001)));
        Assert.Contains("has 65001 names; at most 65000", failure.Message, StringComparison.Ordinal);

        static void Fill(RootTree tree, ContentStore store, int names)
        {
            var node = File(store, "shared");
            for (var i = 0; i < names; i++)
            {
                Add(tree, string.Create(CultureInfo.InvariantCulture, $"l/{i}"), node);
            }
        }
    }

    [Fact]
    public async Task Attributes_lie_in_the_inode_or_in_a_block_and_what_fits_neither_is_refused()
    {
        using var files = new TempTree();
        (string Name, byte[] Value)[][] sets =
        [
            [("user.empty", [])],
            [("user.a", [1]), ("user.b", [1, 2]), ("security.capability", [1, 2, 3, 4, 5]), ("trusted.t", [9])],
            [.. Enumerable.Range(0, 60).Select(i => ($"user.attribute-{i}", new byte[i]))],
            [("user.large", [.. Enumerable.Range(0, 4000).Select(i => (byte)i)])],
            [("user." + new string('n', 255), [7])],
        ];

        var image = await WriteAsync(files, (tree, store) =>
        {
            for (var i = 0; i < sets.Length; i++)
            {
                Add(tree, $"f{i}", File(store, "x", sets[i]));
                var directory = RootNode.NewDirectory(0x1ED);
                directory.Attributes = Attributes(sets[i]);
                Add(tree, $"d{i}", directory);
            }
        });

        for (var i = 0; i < sets.Length; i++)
        {
            foreach (var file in new[] { $"/f{i}", $"/d{i}" })
            {
                var stat = await image.StatAsync(file);
                Assert.All(sets[i], attribute => Assert.Contains($"{attribute.Name} ({attribute.Value.Length})", stat, StringComparison.Ordinal));
            }
        }

        var failure = await Assert.ThrowsAsync<FledgeException>(() => WriteAsync(files, (tree, store) => Add(tree, "too-much", File(store, "x", ("user.x", new byte[4096])))));
        Assert.Contains("extended attributes of 'too-much' do not fit into 4096 bytes", failure.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_file_of_five_gigabytes_of_which_most_is_zero_takes_no_space_on_the_host()
    {
        using var files = new TempTree();
        const long Size = (5L << 30) + 5;

        var image = await WriteAsync(files, (tree, store) =>
        {
            var left = Size;
            Add(tree, "big", new RootNode
            {
                Kind = TarKind.File,
                Content = store.Append(
                    buffer =>
                    {
                        buffer.Clear();
                        left -= buffer.Length;
                        buffer[^1] = left == 0 ? (byte)'!' : (byte)0;
                        return buffer.Length;
                    },
                    Size,
                    TestContext.Current.CancellationToken),
            });
            Add(tree, "after", File(store, "after"));
        });

        Assert.Contains($"Size: {Size} ", await image.StatAsync("/big"), StringComparison.Ordinal);
        Assert.Equal("after", Encoding.UTF8.GetString(await image.ReadAsync("/after")));
        Assert.InRange(long.Parse((await Spawned.RunAsync(files, null, "/usr/bin/stat", "-c", "%b", files["x.img"])).Trim(), CultureInfo.InvariantCulture) * 512, 1, 8 * Mib);
        var block = (await image.RunAsync(string.Create(CultureInfo.InvariantCulture, $"bmap /big {Size / 4096}"))).Trim();
        using var file = System.IO.File.OpenHandle(files["x.img"]);
        var tail = new byte[6];
        await RandomAccess.ReadAsync(file, tail, long.Parse(block.Split('\n')[^1], CultureInfo.InvariantCulture) * 4096, TestContext.Current.CancellationToken);
        Assert.Equal([0, 0, 0, 0, (byte)'!', 0], tail);
    }

    [Fact]
    public async Task Owners_times_and_devices_of_every_size_are_kept()
    {
        using var files = new TempTree();
        long[] times = [int.MinValue, -1, 0, 1, int.MaxValue, 1L << 31, (1L << 32) + 5, (1L << 33) + 5, (1L << 34) - (1L << 31) - 1];
        (uint Major, uint Minor)[] devices = [(0, 0), (1, 3), (255, 255), (256, 0), (8, 256), (4095, 1_048_575)];

        var image = await WriteAsync(files, (tree, _) =>
        {
            for (var i = 0; i < times.Length; i++)
            {
                Add(tree, $"t{i}", new RootNode { Kind = TarKind.File, ModifiedAt = times[i], Uid = (uint)(65_534 + i), Gid = uint.MaxValue - 1 - (uint)i });
            }

            for (var i = 0; i < devices.Length; i++)
            {
                Add(tree, $"c{i}", new RootNode { Kind = TarKind.CharacterDevice, Major = devices[i].Major, Minor = devices[i].Minor, Permissions = 0x1B6 });
                Add(tree, $"b{i}", new RootNode { Kind = TarKind.BlockDevice, Major = devices[i].Major, Minor = devices[i].Minor, Permissions = 0x1B6 });
            }

            Add(tree, "before", new RootNode { Kind = TarKind.File, ModifiedAt = long.MinValue });
            Add(tree, "beyond", new RootNode { Kind = TarKind.File, ModifiedAt = long.MaxValue });
        });

        for (var i = 0; i < times.Length; i++)
        {
            var stat = await image.StatAsync($"/t{i}");
            var extra = (uint)((times[i] - (int)times[i]) >> 32) & 3;
            Assert.Contains($"mtime: 0x{(uint)(int)times[i]:x8}:{extra:x8} ", stat, StringComparison.Ordinal);
            Assert.Matches($"User: *({65_534 + i}) Group: *({uint.MaxValue - 1 - i}|-{2 + i}) ", stat);
        }

        for (var i = 0; i < devices.Length; i++)
        {
            Assert.Contains($"Device major/minor number: {devices[i].Major:00}:{devices[i].Minor:00}", await image.StatAsync($"/c{i}"), StringComparison.Ordinal);
            Assert.Contains($"Device major/minor number: {devices[i].Major:00}:{devices[i].Minor:00}", await image.StatAsync($"/b{i}"), StringComparison.Ordinal);
        }
    }

    [Theory]
    [InlineData("File")]
    [InlineData("SymbolicLink")]
    [InlineData("Directory")]
    public async Task An_image_may_have_anything_where_the_checker_keeps_lost_files(string name)
    {
        using var files = new TempTree();
        var kind = Enum.Parse<TarKind>(name);

        var image = await WriteAsync(files, (tree, _) =>
        {
            var node = kind == TarKind.Directory ? RootNode.NewDirectory(0x1C0) : new RootNode { Kind = kind, LinkTarget = kind == TarKind.SymbolicLink ? "a" : null };
            Add(tree, "lost+found", node);
            Add(tree, "a", kind == TarKind.File ? node : new RootNode { Kind = TarKind.File });
        });

        Assert.Equal(["a", "lost+found"], (await image.NamesAsync("/")).Order(StringComparer.Ordinal));
    }

    /// <summary>Writes a tree as an image and has it checked.</summary>
    /// <param name="files">Where.</param>
    /// <param name="fill">Makes the tree.</param>
    /// <param name="bufferBytes">Free space.</param>
    private static async Task<Ext4Image> WriteAsync(TempTree files, Action<RootTree, ContentStore> fill, long bufferBytes = 0)
    {
        Ext4Image.RequireTools();
        using (var file = System.IO.File.OpenHandle(files["x.img"], FileMode.Create, FileAccess.ReadWrite))
        {
            var (tree, store) = (new RootTree(), new ContentStore(file, Ext4Format.FirstContentBlock));
            fill(tree, store);
            Ext4Writer.Write(tree, store, bufferBytes, Ext4Identity.Of("test"), TestContext.Current.CancellationToken);
        }

        var image = new Ext4Image(files, files["x.img"]);
        await image.CheckAsync();
        return image;
    }

    private static void Add(RootTree tree, string path, RootNode node)
    {
        var parts = RootTree.Split(path);
        tree.Put(tree.Parent(parts, 1)!, parts[^1], node, 1);
    }

    private static RootNode File(ContentStore store, string content, params (string Name, byte[] Value)[] attributes) =>
        new() { Kind = TarKind.File, Permissions = 0x1A4, Content = store.Append(Encoding.UTF8.GetBytes(content)), Attributes = attributes.Length == 0 ? null : Attributes(attributes) };

    private static SortedDictionary<string, byte[]> Attributes((string Name, byte[] Value)[] attributes)
    {
        var all = new SortedDictionary<string, byte[]>(StringComparer.Ordinal);
        foreach (var (name, value) in attributes)
        {
            all[name] = value;
        }

        return all;
    }
}
