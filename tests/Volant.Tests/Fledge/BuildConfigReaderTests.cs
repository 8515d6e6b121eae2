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
    [InlineData("[agent]\nsource_strategy = \"magic\"\n", "'agent.source_strategy' must be \"local\" or \"http\", not \"magic\"")]
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
    [InlineData("version = \"1\"\nstrategy = \"tar\"\n", "'strategy' must be \"initramfs\", not \"tar\"")]
    [InlineData("version = \"1\"\n", "'strategy' is required")]
    public void Version_and_strategy_are_checked(string text, string expected) =>
        Assert.Contains(expected, Assert.Throws<FledgeException>(() => Read(text)).Message, StringComparison.Ordinal);

    [Theory]
    [InlineData("version = \"1\"\nstrategy = \"oci_rootfs\"\n[filesystem]\ntype = \"ext4\"\n", "2:1: 'strategy' = \"oci_rootfs\" is not supported by this version")]
    [InlineData("[agent]\nsource_strategy = \"release\"\nversion = \"1\"\n", "'agent.source_strategy' = \"release\" is not supported by this version")]
    [InlineData("[source]\ndockerfile = \"Dockerfile\"\n", "4:1: 'source.dockerfile' is not supported by this version")]
    [InlineData("[source]\nimage = \"alpine\"\n", "'source.image' is not supported")]
    [InlineData("[source]\nbuild_args = {A = \"b\"}\n", "'source.build_args' is not supported")]
    public void What_a_later_version_brings_is_refused_as_wrong_usage(string text, string expected)
    {
        var failure = Assert.Throws<FledgeException>(() => Read(text));

        Assert.Equal(2, failure.ExitCode);
        Assert.Contains(expected, Assert.Single(failure.Faults), StringComparison.Ordinal);
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
