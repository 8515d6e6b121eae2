using System.Buffers.Binary;
using System.Text.Json;
using Volant.Contracts.Api;
using Volant.Daemon;
using Volant.Daemon.Artifacts;
using Volant.Tests.Fledge;

namespace Volant.Tests.Artifacts;

/// <summary>Headers that are written are what QEMU's own tools take for good; those that would read files of the host are refused (S16).</summary>
public sealed class Qcow2ImageTests : IDisposable
{
    private readonly TempTree _tree = new();

    public void Dispose() => _tree.Dispose();

    [Theory]
    [InlineData("raw", 1)]
    [InlineData("raw", 511)]
    [InlineData("raw", 1L << 30)]
    [InlineData("qcow2", (1L << 29) + 512)]
    [InlineData("raw", 5L << 40)]
    [InlineData("raw", Qcow2Image.MaxBytes)]
    public async Task An_overlay_is_good_for_the_tools_of_QEMU(string format, long bytes)
    {
        RequireTools();
        var backing = await MakeAsync("base image", format, bytes);

        Qcow2Image.CreateOverlay(_tree["overlay"], backing, format, bytes);

        await Spawned.RunAsync(_tree, null, "qemu-img", "check", "-f", "qcow2", _tree["overlay"]);
        using var info = JsonDocument.Parse(await Spawned.RunAsync(_tree, null, "qemu-img", "info", "--output=json", "-f", "qcow2", _tree["overlay"]));
        Assert.Equal(backing, info.RootElement.GetProperty("full-backing-filename").GetString());
        Assert.Equal(format, info.RootElement.GetProperty("backing-filename-format").GetString());
        Assert.Equal((bytes + 511) / 512 * 512, info.RootElement.GetProperty("virtual-size").GetInt64());
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(_tree["overlay"]));
        if (bytes <= 1L << 30)
        {
            await Spawned.RunAsync(_tree, null, "qemu-img", "compare", "-f", "qcow2", "-F", format, _tree["overlay"], backing);
        }
    }

    [Fact]
    public void An_overlay_never_takes_the_place_of_a_file()
    {
        File.WriteAllText(_tree["overlay"], "what a guest wrote");

        Assert.Throws<IOException>(() => Qcow2Image.CreateOverlay(_tree["overlay"], "/base", "raw", 512));

        Assert.Equal("what a guest wrote", File.ReadAllText(_tree["overlay"]));
    }

    [Theory]
    [InlineData("-o", "backing_file={0},backing_fmt=raw", "backing file")]
    [InlineData("-o", "data_file={0},data_file_raw=on", "another file")]
    [InlineData("--object", "secret,id=s,data=geheim", "encrypted")]
    public async Task What_is_not_an_image_of_its_own_is_refused(string option, string value, string words)
    {
        RequireTools();
        var canary = await MakeAsync("canary", "raw", 1 << 20);
        string[] more = option == "--object" ? ["-o", "encrypt.format=aes,encrypt.key-secret=s"] : []; // Making a LUKS header measures how fast this machine is, which can fail on a busy one.
        await Spawned.RunAsync(_tree, null, ["qemu-img", "create", "-q", "-f", "qcow2", option, string.Format(System.Globalization.CultureInfo.InvariantCulture, value, canary), .. more, _tree["image"], "1M"]);

        AssertRefused(words);
    }

    [Theory]
    [InlineData(0, 0x51464900u, "no qcow2 image")]
    [InlineData(4, 1u, "version 1")]
    [InlineData(4, 4u, "version 4")]
    [InlineData(24, 0x80000000u, "bytes")]
    [InlineData(28, 0u, "says that it has 0 bytes")]
    [InlineData(76, 2u, "damaged")]
    [InlineData(72, 1u, "damaged")]
    public void A_header_that_lies_is_refused(int offset, uint value, string words)
    {
        Qcow2Image.CreateOverlay(_tree["image"], "/", "raw", 1 << 20);
        var image = File.ReadAllBytes(_tree["image"]);
        image.AsSpan(8, 8).Clear();
        File.WriteAllBytes(_tree["image"], image);
        Assert.Equal(1 << 20, Qcow2Image.Check(_tree["image"], "image"));
        BinaryPrimitives.WriteUInt32BigEndian(image.AsSpan(offset), value);
        File.WriteAllBytes(_tree["image"], image);

        AssertRefused(words);
    }

    [Fact]
    public void A_short_file_is_refused()
    {
        File.WriteAllBytes(_tree["image"], Qcow2Image.Magic.ToArray());

        AssertRefused("no qcow2 image");
    }

    private void AssertRefused(string words)
    {
        var failure = Assert.Throws<VolantException>(() => Qcow2Image.Check(_tree["image"], "the name"));
        Assert.Equal(ErrorCodes.InvalidMedia, failure.Code);
        Assert.Contains(words, failure.Message, StringComparison.Ordinal);
        Assert.Contains("'the name'", failure.Message, StringComparison.Ordinal);
    }

    private async Task<string> MakeAsync(string name, string format, long bytes)
    {
        var path = _tree[name];
        if (format == "raw")
        {
            await using var file = File.Create(path);
            file.SetLength(bytes <= 1L << 40 ? bytes : 1 << 20);
            file.Write("the content"u8[..(int)Math.Min(bytes, 11)]);
        }
        else
        {
            await Spawned.RunAsync(_tree, null, "qemu-img", "create", "-q", "-f", format, path, bytes.ToString(System.Globalization.CultureInfo.InvariantCulture));
        }

        return path;
    }

    private static void RequireTools() => Assert.SkipUnless(File.Exists("/usr/bin/qemu-img"), "qemu-img is not installed: scripts/deps.sh run");
}
