using Volant.Linux.Files;

namespace Volant.Tests.Linux;

public sealed class DiskNumberTests : IDisposable
{
    private const ulong Partition = (8ul << 32) | 2;

    private readonly TemporaryDirectory _sys = new();

    public void Dispose() => _sys.Dispose();

    [Fact]
    public void A_partition_counts_as_its_disk()
    {
        Make("devices/sda", "8:0");
        Make("devices/sda/sda2", "8:2");
        File.WriteAllText(_sys["devices/sda/sda2/partition"], "2\n");

        Assert.Equal("8:0", DiskNumber.Of(Partition, _sys.Path));
        Assert.Equal("8:0", DiskNumber.Of(8ul << 32, _sys.Path));
        Assert.Null(DiskNumber.Of(44, _sys.Path));
    }

    [Fact]
    public void The_disk_of_this_machine_is_one_that_the_kernel_knows()
    {
        using var root = DirectoryHandle.Open("/");
        var disk = DiskNumber.Of(root.Stat().Device);
        Assert.SkipUnless(disk is not null, "the root file system has no disk of its own");

        Assert.True(Directory.Exists($"/sys/dev/block/{disk}/queue"), disk);
    }

    private void Make(string directory, string number)
    {
        Directory.CreateDirectory(_sys[directory]);
        File.WriteAllText(_sys[$"{directory}/dev"], $"{number}\n");
        Directory.CreateDirectory(_sys["dev/block"]);
        File.CreateSymbolicLink(_sys[$"dev/block/{number}"], $"../../{directory}");
    }
}
