using CsCheck;
using Volant.Fledge;
using Volant.Fledge.Cpio;

namespace Volant.Tests.Fledge;

public sealed class CpioWriterTests
{
    private static readonly Gen<(string Path, int Mode, byte[] Content)[]> Entries =
        Gen.Select(Gen.String[Gen.Char["abcäß/ .-_"], 1, 40], Gen.Int[0, 0xFFF], Gen.Byte.Array[0, 200]).Array[0, 12];

    [Fact]
    public async Task A_written_archive_is_listed_by_cpio()
    {
        using var tree = new TempTree();
        var host = tree.Write("content", new byte[70_001]);
        await File.WriteAllBytesAsync(
            tree["x.cpio"],
            await WriteAsync(
                CpioEntry.Directory("bin", Permissions.Octal0755),
                CpioEntry.File("bin/a b", Permissions.Octal0755, host, 70_001),
                CpioEntry.Symlink("bin/link", "/bin/ä"),
                CpioEntry.File("empty", Permissions.Octal0644, ReadOnlyMemory<byte>.Empty)),
            TestContext.Current.CancellationToken);

        var names = await Spawned.RunAsync(tree, tree["x.cpio"], "/usr/bin/cpio", "--quiet", "-t");
        var details = await Spawned.RunAsync(tree, tree["x.cpio"], "/usr/bin/cpio", "--quiet", "-tvn");

        Assert.Equal("bin\nbin/a b\nbin/link\nempty\n", names);
        Assert.Matches(@"-rwxr-xr-x\s+1 0\s+0\s+70001 Jan  1  1970 bin/a b", details);
        Assert.Matches(@"drwxr-xr-x\s+2 0 ", details);
    }

    [Fact]
    public Task Whatever_is_written_is_read_back() => Entries.SampleAsync(async entries =>
    {
        var archive = await WriteAsync([.. entries.Select(entry => CpioEntry.File(entry.Path, entry.Mode, entry.Content))]);

        var members = Newc.Read(archive);

        return archive.Length % 4 == 0 &&
            members.Select(member => (member.Path, (int)member.Permissions, member.Kind, member.Inode)).SequenceEqual(
                entries.Select((entry, i) => (entry.Path, entry.Mode, '-', (uint)i + 1))) &&
            members.Zip(entries).All(pair => pair.First.Content.AsSpan().SequenceEqual(pair.Second.Content)) &&
            members.All(member => member is { Uid: 0, Gid: 0, Time: 0, Links: 1 });
    });

    [Theory]
    [InlineData(3)]
    [InlineData(5)]
    public async Task Writing_refuses_a_file_that_changed_its_size(long expected)
    {
        using var tree = new TempTree();
        var host = tree.Write("content", "1234");

        var failure = await Assert.ThrowsAsync<FledgeException>(() => WriteAsync(CpioEntry.File("x", 0, host, expected)));

        Assert.Contains("changed while it was read", failure.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Writing_refuses_a_path_that_the_kernel_would_skip()
    {
        var failure = await Assert.ThrowsAsync<FledgeException>(() => WriteAsync(CpioEntry.Directory(new string('a', 4096), 0)));

        Assert.Contains("has 4096 bytes; at most 4095", failure.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Writing_refuses_a_file_whose_length_does_not_fit_the_header()
    {
        var failure = await Assert.ThrowsAsync<FledgeException>(() => WriteAsync(CpioEntry.File("x", 0, "/dev/null", 1L << 32)));

        Assert.Contains("at most 4294967295", failure.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_product_s_reader_agrees_and_joins_segments()
    {
        var first = await WriteAsync(CpioEntry.Directory("a", Permissions.Octal1777));
        var second = await WriteAsync(CpioEntry.Symlink("a/l", "../t"));

        var members = await ReadAsync([.. first, 0, 0, 0, 0, .. second]);

        Assert.Equal([("a", 0x43FF, null), ("a/l", 0xA1FF, "../t")], members.Select(member => (member.Path, member.Mode, member.Target)));
    }

    [Fact]
    public async Task Reading_refuses_whatever_is_cut_off()
    {
        var archive = await WriteAsync(CpioEntry.File("file", 0, new byte[10]));

        for (var length = 0; length < archive.Length - 3; length++)
        {
            await Assert.ThrowsAsync<FledgeException>(() => ReadAsync(archive[..length]));
        }
    }

    [Fact]
    public Task Reading_garbage_fails_cleanly() => Gen.Byte.Array[0, 400].Select(Gen.Bool).SampleAsync(async input =>
    {
        var (bytes, plausible) = input;
        var archive = plausible ? [.. "070701"u8.ToArray().Concat(bytes.Select(b => (byte)"0123456789ABCDEF"[b % 16]))] : bytes;
        try
        {
            await ReadAsync(archive);
        }
        catch (FledgeException)
        {
            // The only failure allowed.
        }
    });

    private static async Task<byte[]> WriteAsync(params CpioEntry[] entries)
    {
        using var output = new MemoryStream();
        var writer = new CpioWriter(output);
        foreach (var entry in entries)
        {
            await writer.WriteAsync(entry, TestContext.Current.CancellationToken);
        }

        await writer.FinishAsync(TestContext.Current.CancellationToken);
        Assert.Equal(output.Length, writer.Length);
        return output.ToArray();
    }

    private static async Task<List<CpioMember>> ReadAsync(byte[] archive)
    {
        var members = new List<CpioMember>();
        await foreach (var member in new CpioReader(new MemoryStream(archive)).ReadAsync(TestContext.Current.CancellationToken))
        {
            members.Add(member);
        }

        return members;
    }
}
