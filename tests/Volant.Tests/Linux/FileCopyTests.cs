using CsCheck;
using Microsoft.Win32.SafeHandles;
using Volant.Linux.Files;

namespace Volant.Tests.Linux;

public sealed class FileCopyTests : IDisposable
{
    private readonly TemporaryDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Fact]
    public void All_bytes_are_appended_behind_those_that_are_there() =>
        Gen.Select(Gen.Byte.Array[0, 3000], Gen.Byte.Array[0, 3000]).Sample(
            (present, added) =>
            {
                File.WriteAllBytes(_directory["to"], present);
                File.WriteAllBytes(_directory["from"], added);
                using (var from = File.OpenHandle(_directory["from"]))
                using (var to = File.OpenHandle(_directory["to"], FileMode.Open, FileAccess.Write))
                {
                    Assert.Equal(added.Length, FileCopy.Append(from, to, TestContext.Current.CancellationToken));
                }

                Assert.Equal([.. present, .. added], File.ReadAllBytes(_directory["to"]));
            },
            iter: 50,
            threads: 1);

    [Fact]
    public void A_large_file_is_copied_into_another_file_system()
    {
        Assert.SkipUnless(Directory.Exists("/dev/shm"), "Needs /dev/shm.");
        var bytes = new byte[5_000_003];
        new Random(1).NextBytes(bytes);
        File.WriteAllBytes(_directory["from"], bytes);
        var target = Path.Combine("/dev/shm", Path.GetFileName(_directory.Path));
        try
        {
            using var from = File.OpenHandle(_directory["from"]);
            using (var to = File.OpenHandle(target, FileMode.CreateNew, FileAccess.Write))
            {
                Assert.Equal(bytes.Length, FileCopy.Append(from, to, TestContext.Current.CancellationToken));
            }

            Assert.Equal(bytes, File.ReadAllBytes(target));
        }
        finally
        {
            File.Delete(target);
        }
    }

    [Fact]
    public void The_plain_copy_stops_where_the_source_ends()
    {
        var bytes = new byte[600_001];
        new Random(2).NextBytes(bytes);
        File.WriteAllBytes(_directory["from"], bytes);
        using var from = File.OpenHandle(_directory["from"]);
        using (var to = File.OpenHandle(_directory["to"], FileMode.Create, FileAccess.Write))
        {
            Assert.Equal(600_000, FileCopy.CopyPlainly(from, 1, to, 0, long.MaxValue, TestContext.Current.CancellationToken));
        }

        Assert.Equal(bytes[1..], File.ReadAllBytes(_directory["to"]));
    }

    [Fact]
    public void A_full_device_is_an_error()
    {
        File.WriteAllText(_directory["from"], "content");
        using var from = File.OpenHandle(_directory["from"]);
        using var full = File.OpenHandle("/dev/full", FileMode.Open, FileAccess.Write);

        Assert.ThrowsAny<Exception>(() => CopyTo(from, full));
    }

    [Fact]
    public void A_cancelled_copy_stops()
    {
        File.WriteAllText(_directory["from"], "content");
        using var from = File.OpenHandle(_directory["from"]);
        using var to = File.OpenHandle(_directory["to"], FileMode.Create, FileAccess.Write);

        Assert.Throws<OperationCanceledException>(() => FileCopy.Append(from, to, new CancellationToken(canceled: true)));
    }

    private static void CopyTo(SafeFileHandle from, SafeFileHandle to) =>
        FileCopy.CopyPlainly(from, 0, to, 0, 7, TestContext.Current.CancellationToken);
}
