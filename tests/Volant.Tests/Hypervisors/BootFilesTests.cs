using CsCheck;
using Volant.Contracts.Api;
using Volant.Daemon;
using Volant.Daemon.Hypervisors;

namespace Volant.Tests.Hypervisors;

public sealed class BootFilesTests : IDisposable
{
    private readonly TemporaryDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Fact]
    public void CheckKernel_accepts_an_ELF_image_with_a_PVH_note_of_32_and_of_64_bits()
    {
        BootFiles.CheckKernel(_directory.File("k32", TinyKernel.Halting));
        BootFiles.CheckKernel(_directory.File("k64", Elf64(18)));
    }

    [Fact]
    public void CheckKernel_accepts_a_bzImage() => BootFiles.CheckKernel(_directory.File("bz", BzImage()));

    [Fact]
    public void CheckKernel_refuses_an_ELF_image_without_the_note()
    {
        AssertInvalid(() => BootFiles.CheckKernel(_directory.File("k32", TinyKernel.Image([0xf4], noteType: 1))), "k32");
        AssertInvalid(() => BootFiles.CheckKernel(_directory.File("k64", Elf64(1))), "k64");
        AssertInvalid(() => BootFiles.CheckKernel("/bin/sh"), "/bin/sh");
    }

    [Fact]
    public void CheckKernel_refuses_other_files()
    {
        AssertInvalid(() => BootFiles.CheckKernel(_directory.File("empty", [])), "empty");
        AssertInvalid(() => BootFiles.CheckKernel(_directory.File("text", "#!/bin/sh\n"u8)), "text");
        AssertInvalid(() => BootFiles.CheckKernel(_directory.File("short", BzImage().AsSpan(0, 0x205))), "short");
        Assert.Equal(ErrorCodes.ArtifactNotFound, Assert.Throws<VolantException>(() => BootFiles.CheckKernel("/nowhere/vmlinux")).Code);
    }

    [Fact]
    public void CheckKernel_survives_every_damage()
    {
        var file = Path.Combine(_directory.Path, "damaged");
        Gen.Select(Gen.OneOf(TinyKernel.Halting[..200], Elf64(18)), Gen.Select(Gen.Int[0, 180], Gen.Byte).Array[1, 12]).Sample(
            (image, changes) =>
            {
                var damaged = image.ToArray();
                foreach (var (at, value) in changes)
                {
                    damaged[at % damaged.Length] = value;
                }

                File.WriteAllBytes(file, damaged);
                try
                {
                    BootFiles.CheckKernel(file);
                }
                catch (VolantException e)
                {
                    Assert.Equal(ErrorCodes.InvalidMedia, e.Code);
                }
            },
            iter: 2000,
            threads: 1);
    }

    public static TheoryData<byte[]> Archives => new(
        "070701"u8.ToArray(),
        "070702"u8.ToArray(),
        [0x1f, 0x8b, 8, 0, 0, 0],
        [0x28, 0xb5, 0x2f, 0xfd, 0, 0],
        [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00],
        [0x02, 0x21, 0x4c, 0x18, 0, 0]);

    [Theory]
    [MemberData(nameof(Archives))]
    public void CheckInitramfs_accepts_what_kernels_unpack(byte[] head) => BootFiles.CheckInitramfs(_directory.File("i", head));

    [Fact]
    public void CheckInitramfs_refuses_other_files()
    {
        AssertInvalid(() => BootFiles.CheckInitramfs(_directory.File("tar", "usr/bin/"u8)), "tar");
        AssertInvalid(() => BootFiles.CheckInitramfs(_directory.File("lz4-frame", [0x04, 0x22, 0x4d, 0x18, 0, 0])), "lz4-frame");
        AssertInvalid(() => BootFiles.CheckInitramfs(_directory.File("one", [0x1f])), "one");
    }

    private static void AssertInvalid(Action action, string file)
    {
        var refusal = Assert.Throws<VolantException>(action);
        Assert.Equal(ErrorCodes.InvalidMedia, refusal.Code);
        Assert.Contains(file, refusal.Message, StringComparison.Ordinal);
    }

    private static byte[] BzImage()
    {
        var image = new byte[0x300];
        image[0x1fe] = 0x55;
        image[0x1ff] = 0xaa;
        "HdrS"u8.CopyTo(image.AsSpan(0x202));
        return image;
    }

    /// <summary>One PT_NOTE segment that holds a GNU note first, as linkers put it, and then the Xen note.</summary>
    private static byte[] Elf64(byte type)
    {
        var image = new byte[256];
        ReadOnlySpan<byte> ident = [0x7f, (byte)'E', (byte)'L', (byte)'F', 2, 1, 1];
        ident.CopyTo(image);
        image[16] = 2;
        image[18] = 62;
        image[32] = 64;
        image[54] = 56;
        image[56] = 1;
        image[64] = 4;
        image[64 + 8] = 120;
        image[64 + 32] = 48;
        ReadOnlySpan<byte> notes =
        [
            4, 0, 0, 0, 5, 0, 0, 0, 3, 0, 0, 0, (byte)'G', (byte)'N', (byte)'U', 0, 1, 2, 3, 4, 5, 0, 0, 0,
            4, 0, 0, 0, 8, 0, 0, 0, type, 0, 0, 0, (byte)'X', (byte)'e', (byte)'n', 0, 0, 0, 16, 0, 0, 0, 0, 0,
        ];
        notes.CopyTo(image.AsSpan(120));
        return image;
    }
}
