using Volant.Fledge;
using Volant.Fledge.Configuration;

namespace Volant.Tests.Fledge;

public sealed class BuildConfigReaderTests
{
    private const string Sum = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    [Fact]
    public void An_empty_build_means_agent_and_busybox_by_default()
    {
        var config = Read(string.Empty);

        Assert.Equal(new InitChoice(InitMode.Agent), config.Init);
        Assert.IsType<ProgramSource.Default>(config.Agent);
        Assert.IsType<ProgramSource.Default>(config.Busybox);
        Assert.Empty(config.Mappings);
    }

    [Fact]
    public void Paths_start_from_the_directory_of_the_file()
    {
        using var tree = FledgeRun.Project("[agent]\nsource_strategy = \"local\"\npath = \"../k\"\n[mappings]\n\"./a/\" = \"/srv\"\n");

        var config = BuildConfigReader.Read(tree["project/fledge.toml"]);

        Assert.Equal(new ProgramSource.Local(tree["k"]), config.Agent);
        Assert.Equal((tree["project/a"], "/srv", $"{tree["project/fledge.toml"]}:7:1"), (config.Mappings[0].HostPath, config.Mappings[0].GuestPath, config.Mappings[0].Place));
    }

    [Fact]
    public void A_download_takes_its_checksum_with_or_without_prefix()
    {
        var config = Read($"[agent]\nsource_strategy = \"http\"\nurl = \"https://example.org/k\"\nchecksum = \"sha256:{Sum.ToUpperInvariant()}\"\n");

        Assert.Equal(new ProgramSource.Download(new Uri("https://example.org/k"), Sum), config.Agent);
    }

    [Theory]
    [InlineData("[agent]\nsource_strategy = \"http\"\nurl = \"https://example.org/k\"\n", "3:2: 'agent.checksum' is required.")]
    [InlineData("[agent]\nsource_strategy = \"http\"\nurl = \"ftp://e/k\"\nchecksum = \"" + Sum + "\"\n", "5:1: 'agent.url' must be an http:// or https:// URL")]
    [InlineData("[agent]\nsource_strategy = \"http\"\nurl = \"http://u:p@e/k\"\nchecksum = \"" + Sum + "\"\n", "5:1: 'agent.url' must be")]
    [InlineData("[agent]\nsource_strategy = \"http\"\nurl = \"http://e/k\"\nchecksum = \"abc\"\n", "6:1: 'agent.checksum' must be a SHA-256")]
    [InlineData("[agent]\nsource_strategy = \"local\"\nversion = \"1\"\n", "5:1: 'agent.version' is not a known key with source_strategy \"local\"")]
    [InlineData("[agent]\npath = \"x\"\n", "'agent.source_strategy' is required")]
    [InlineData("[agent]\nsource_strategy = \"magic\"\n", "'agent.source_strategy' must be \"release\", \"local\" or \"http\", not \"magic\"")]
    [InlineData("[agent]\nsource_strategy = \"local\"\n[init]\nnone = true\n", "'agent' belongs to the default init")]
    [InlineData("[init]\nnone = true\npath = \"x\"\n", "'init.path' and 'init.none' exclude each other")]
    [InlineData("[init]\nnone = \"true\"\n", "'init.none' must be a boolean, not a string")]
    [InlineData("[source]\nbusybox_url = \"https://e/b\"\n", "'source.busybox_url' needs 'source.busybox_sha256' too")]
    [InlineData("[source]\nbusybox_sha256 = \"" + Sum + "\"\n", "'source.busybox_sha256' needs 'source.busybox_url' too")]
    [InlineData("[filesystem]\ntype = \"ext4\"\n", "'filesystem' belongs to strategy \"oci_rootfs\"")]
    [InlineData("colour = 1\n", "3:1: 'colour' is not a known key")]
    [InlineData("[init]\nkind = 1\n", "4:1: 'init.kind' is not a known key")]
    [InlineData("[mappings]\n\"a\" = \"b\"\n", "4:1: 'mappings.a' must be an absolute path in the guest, not 'b'")]
    [InlineData("[mappings]\n\"a\" = \"/x/../b\"\n", "must not contain empty segments, '.' or '..'")]
    [InlineData("[mappings]\n\"a\" = \"/x//b\"\n", "must not contain empty segments")]
    [InlineData("[mappings]\n\"a\" = \"/./b\"\n", "must not contain empty segments")]
    [InlineData("[mappings]\n\"a\" = \"//\"\n", "must not contain empty segments")]
    [InlineData("[mappings]\n\"a\" = \"/b\\u0000\"\n", "must not contain control characters")]
    [InlineData("[mappings]\n\"a\" = 5\n", "'mappings.a' must be a string, not an integer")]
    [InlineData("mappings = 5\n", "'mappings' must be a table, not an integer")]
    public void A_broken_rule_is_refused_with_its_place(string text, string expected)
    {
        var failure = Assert.Throws<FledgeException>(() => Read(text));

        Assert.Equal(1, failure.ExitCode);
        Assert.Contains(expected, Assert.Single(failure.Faults), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("version = \"2\"\nstrategy = \"initramfs\"\n", "'version' must be \"1\", not \"2\"")]
    [InlineData("version = 1\nstrategy = \"initramfs\"\n", "'version' must be a string, not an integer")]
    [InlineData("version = \"1\"\nstrategy = \"tar\"\n", "'strategy' must be \"initramfs\" or \"oci_rootfs\", not \"tar\"")]
    [InlineData("version = \"1\"\n", "'strategy' is required")]
    public void Version_and_strategy_are_checked(string text, string expected) =>
        Assert.Contains(expected, Assert.Throws<FledgeException>(() => Read(text)).Message, StringComparison.Ordinal);

    [Theory]
    [InlineData("", "'source' must have 'image' or 'dockerfile'", "'filesystem' is required")]
    [InlineData("[source]\nimage = \"a\"\ndockerfile = \"b\"\n[filesystem]\n", "'source.dockerfile' and 'source.image' exclude each other")]
    [InlineData("[source]\nimage = \"a\"\nbusybox = false\n[filesystem]\n", "'source.busybox' belongs to strategy \"initramfs\"")]
    [InlineData("[source]\nimage = \"a\"\ntarget = \"t\"\n[filesystem]\n", "'source.target' needs 'source.dockerfile'")]
    [InlineData("[source]\nimage = \"A b\"\n[filesystem]\n", "'source.image' is 'A b', which is no name of an image")]
    [InlineData("[source]\nimage = \"a@sha256:12\"\n[filesystem]\n", "'source.image' names the digest 'sha256:12'")]
    [InlineData("[source]\nimage = \"oci:\"\n[filesystem]\n", "'source.image' names no path")]
    [InlineData("[source]\nimage = \"a\"\n[init]\nnone = true\n[filesystem]\n", "'init' belongs to strategy \"initramfs\"")]
    [InlineData("[source]\nimage = \"a\"\n[filesystem]\ntype = \"fat\"\n", "'filesystem.type' must be \"ext4\"")]
    [InlineData("[source]\nimage = \"a\"\n[filesystem]\nsize_buffer_mb = -1\n", "'filesystem.size_buffer_mb' must be 0 to")]
    [InlineData("[source]\nimage = \"a\"\n[filesystem]\ncompression_level = 3\n", "'filesystem.compression_level' belongs to \"squashfs\"")]
    [InlineData("[source]\nimage = \"a\"\n[filesystem]\ntype = \"squashfs\"\ncompression_level = 23\n", "'filesystem.compression_level' must be 1 to 22")]
    [InlineData("[source]\nimage = \"a\"\n[filesystem]\ntype = \"squashfs\"\noverlay_size = \"much\"\n", "'filesystem.overlay_size' must be a size")]
    [InlineData("[source]\ndockerfile = \"d\"\nbuild_args = {\"a b\" = \"c\"}\n[filesystem]\n", "must be named by letters")]
    public void A_root_disk_has_rules_of_its_own(string text, params string[] expected)
    {
        var failure = Assert.Throws<FledgeException>(() => Read($"version = \"1\"\nstrategy = \"oci_rootfs\"\n{text}"));

        Assert.Equal(expected.Length, failure.Faults.Count);
        Assert.All(expected, fault => Assert.Contains(fault, failure.Message, StringComparison.Ordinal));
    }

    [Fact]
    public void A_root_disk_is_ext4_with_100_MiB_free_unless_it_says_otherwise()
    {
        Assert.Equal(
            new FilesystemChoice(FilesystemType.Ext4, 100, false, null, null),
            Read("version = \"1\"\nstrategy = \"oci_rootfs\"\n[source]\nimage = \"a\"\n[filesystem]\n").Filesystem);
        Assert.Equal(
            new FilesystemChoice(FilesystemType.Squashfs, 100, false, 22, "512M"),
            Read("version = \"1\"\nstrategy = \"oci_rootfs\"\n[source]\nimage = \"a\"\n[filesystem]\ntype = \"squashfs\"\ncompression_level = 22\noverlay_size = \"512M\"\n").Filesystem);
    }

    [Fact]
    public void An_agent_of_a_release_is_the_one_that_ships_or_refused()
    {
        Assert.IsType<ProgramSource.Default>(Read($"[agent]\nsource_strategy = \"release\"\nversion = \"v{Volant.Fledge.Commands.FledgeApp.Version()}\"\n").Agent);
        Assert.Contains("this fledge brings the agent of release", Assert.Throws<FledgeException>(() => Read("[agent]\nsource_strategy = \"release\"\nversion = \"9.9\"\n")).Message, StringComparison.Ordinal);
        Assert.Contains("'agent.version' is required", Assert.Throws<FledgeException>(() => Read("[agent]\nsource_strategy = \"release\"\n")).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Every_fault_is_reported_in_the_order_of_the_file()
    {
        var failure = Assert.Throws<FledgeException>(() => Read("x = 1\n[agent]\nsource_strategy = \"nope\"\n[mappings]\n\"a\" = \"b\"\n\"c\" = \"d\"\n"));

        Assert.Equal(["3:1", "5:1", "7:1", "8:1"], failure.Faults.Select(fault => string.Join(':', fault[fault.IndexOf("toml:", StringComparison.Ordinal)..].Split(':')[1..3])), StringComparer.Ordinal);
    }

    [Theory]
    [InlineData("a =\n", ":3:")]
    [InlineData("[x\n[y\n", ":3:")]
    [InlineData("a = 1\na = 2\n", ":4:")]
    public void A_syntax_error_has_line_and_column(string text, string expected) =>
        Assert.Contains(expected, Assert.Throws<FledgeException>(() => Read(text)).Faults[0], StringComparison.Ordinal);

    [Fact]
    public void Endless_nesting_is_refused() =>
        Assert.Contains("depth", Assert.Throws<FledgeException>(() => Read($"a = {new string('[', 10_000)}\n")).Message, StringComparison.Ordinal);

    private static BuildConfig Read(string text)
    {
        using var tree = FledgeRun.Project(text);
        return BuildConfigReader.Read(tree["project/fledge.toml"]);
    }
}
