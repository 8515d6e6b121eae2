using System.Security.Cryptography;
using System.Text;
using Volant.Contracts.Manifests;
using Volant.Daemon.CloudInit;
using Volant.Tests.Fledge;

namespace Volant.Tests.Seeds;

/// <summary>NoCloud seeds (E09): what is written is what others read, byte for byte.</summary>
public sealed class SeedTests : IDisposable
{
    private static readonly SeedInstance Instance = new(Guid.Parse("01997a5e-1c00-7000-8000-0123456789ab"), "web", null);
    private static readonly SeedNetwork Network = new("02:00:5e:00:53:01", [("192.168.127.2/24", "192.168.127.1")]);

    private readonly TempTree _tree = new();

    public static TheoryData<string, byte[]> UserData => new()
    {
        { "empty", [] },
        { "one byte", [0x41] },
        { "one sector", new byte[512] },
        { "one sector and a byte", RandomNumberGenerator.GetBytes(513) },
        { "text", "#cloud-config\nhostname: ü\r\n"u8.ToArray() },
        { "binary", [0x1f, 0x8b, 0, 0xff, 0xfe, 0x0a, 0x0d, 0x1a] },
        { "512 KiB", RandomNumberGenerator.GetBytes(512 << 10) },
        { "the most", RandomNumberGenerator.GetBytes(CloudInitRules.MaxBytes) },
    };

    public void Dispose() => _tree.Dispose();

    [Theory]
    [MemberData(nameof(UserData))]
    public async Task Whatever_the_documents_hold_the_tools_of_others_read_the_same_bytes(string name, byte[] content)
    {
        Assert.SkipUnless(File.Exists("/usr/bin/mcopy") && File.Exists("/usr/sbin/fsck.fat"), "mtools and dosfstools are not installed: scripts/deps.sh test");
        (string, byte[])[] files = [("meta-data", Encoding.UTF8.GetBytes(name)), ("user-data", content), ("network-config", "version: 2\n"u8.ToArray())];
        var seed = _tree["seed"];

        await new SeedImage(null, TimeProvider.System).WriteAsync(seed, files);

        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(seed));
        Assert.Equal(FatImage.Bytes, new FileInfo(seed).Length);
        await Spawned.RunAsync(_tree, null, "fsck.fat", "-n", seed);
        Assert.Contains("CIDATA", await Spawned.RunAsync(_tree, null, "mlabel", "-s", "-i", seed, "::"), StringComparison.Ordinal);
        await AssertHoldsAsync(seed, files);
    }

    [Fact]
    public async Task The_tool_of_the_distribution_makes_a_seed_of_the_same_content()
    {
        Assert.SkipUnless(SeedImage.FindTool() is not null, "cloud-localds, dosfstools and mtools are not installed: scripts/deps.sh test");
        (string, byte[])[] files = [("meta-data", "instance-id: i\n"u8.ToArray()), ("user-data", RandomNumberGenerator.GetBytes(60_000)), ("network-config", "version: 2\n"u8.ToArray())];

        await new SeedImage(null, TimeProvider.System).WriteAsync(_tree["own"], files);
        _tree.Make("tool.work");
        _tree.Write("tool.work/output", "of a daemon that was killed");
        await new SeedImage(SeedImage.FindTool(), TimeProvider.System).WriteAsync(_tree["tool"], files);
        await new SeedImage(SeedImage.FindTool(), TimeProvider.System).WriteAsync(_tree["tool"], files);

        foreach (var seed in new[] { _tree["own"], _tree["tool"] })
        {
            Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(seed));
            Assert.Contains("CIDATA", await Spawned.RunAsync(_tree, null, "mlabel", "-s", "-i", seed, "::"), StringComparison.Ordinal);
            await AssertHoldsAsync(seed, files);
        }

        Assert.DoesNotContain(_tree.Names(), name => name.EndsWith(".work", StringComparison.Ordinal));
    }

    [Fact]
    public void The_same_documents_give_the_same_bytes() =>
        Assert.Equal(FatImage.Build("CIDATA", [("user-data", "x"u8.ToArray())]), FatImage.Build("CIDATA", [("user-data", "x"u8.ToArray())]));

    [Fact]
    public void What_does_not_fit_is_refused() => Assert.Throws<ArgumentException>(() => FatImage.Build("CIDATA", [("user-data", new byte[FatImage.Bytes])]));

    [Theory]
    [InlineData("", "instance-id: 01997a5e-1c00-7000-8000-0123456789ab\nlocal-hostname: web\n")]
    [InlineData("instance-id: mine", "instance-id: mine\nlocal-hostname: web\n")]
    [InlineData("local-hostname: other\n", "local-hostname: other\ninstance-id: 01997a5e-1c00-7000-8000-0123456789ab\n")]
    [InlineData("\"instance-id\" : mine\nlocal-hostname: other", "\"instance-id\" : mine\nlocal-hostname: other")]
    [InlineData("{\"instance-id\": \"mine\"}", "{\"instance-id\":\"mine\",\"local-hostname\":\"web\"}")]
    [InlineData("{ broken", "{ broken")]
    public void Metadata_has_an_instance_and_a_host_name(string given, string expected) =>
        Assert.Equal(expected, Text(Build(new CloudInit { MetaData = new CloudInitDocument { Content = given } }, Instance), "meta-data"));

    [Fact]
    public void The_network_is_the_users_or_that_of_bridged_mode_or_none()
    {
        var own = new CloudInit { NetworkConfig = new CloudInitDocument { Content = "version: 1" } };

        Assert.Equal("version: 1", Text(Build(own, Instance with { Network = Network }), "network-config"));
        Assert.Null(Text(Build(new CloudInit(), Instance), "network-config"));
        Assert.Equal(
            """
            version: 2
            ethernets:
              eth0:
                match:
                  macaddress: "02:00:5e:00:53:01"
                set-name: eth0
                addresses: ["192.168.127.2/24"]
                routes:
                  - to: "0.0.0.0/0"
                    via: "192.168.127.1"

            """.ReplaceLineEndings("\n"),
            Text(Build(new CloudInit(), Instance with { Network = Network }), "network-config"));
        Assert.EndsWith(
            """
                addresses: ["192.168.127.2/24", "fd77::c0a8:7f02/64"]
                routes:
                  - to: "0.0.0.0/0"
                    via: "192.168.127.1"
                  - to: "::/0"
                    via: "fd77::c0a8:7f01"

            """.ReplaceLineEndings("\n"),
            Text(Build(new CloudInit(), Instance with { Network = Network with { Addresses = [.. Network.Addresses, ("fd77::c0a8:7f02/64", "fd77::c0a8:7f01")] } }), "network-config"),
            StringComparison.Ordinal);
        Assert.EndsWith(
            """
                    via: "192.168.127.1"
                nameservers:
                  addresses: ["192.168.127.1"]

            """.ReplaceLineEndings("\n"),
            Text(Build(new CloudInit(), Instance with { Network = Network with { NameServer = "192.168.127.1" } }), "network-config"),
            StringComparison.Ordinal);
    }

    [Fact]
    public void Documents_are_merged_one_by_one_and_base64_is_read()
    {
        var manifest = new CloudInit { UserData = new CloudInitDocument { Content = "of the manifest" }, MetaData = new CloudInitDocument { Content = "instance-id: a\nlocal-hostname: b" } };
        var config = new CloudInit { UserData = new CloudInitDocument { Content = Convert.ToBase64String([0, 255]), Encoding = "base64" } };

        var files = Build(CloudInitRules.Merge(manifest, config)!, Instance);

        Assert.Equal([0, 255], files.Single(file => file.Name == "user-data").Content);
        Assert.Equal("instance-id: a\nlocal-hostname: b", Text(files, "meta-data"));
        Assert.Equal(manifest, CloudInitRules.Merge(manifest, null));
    }

    private static IReadOnlyList<(string Name, byte[] Content)> Build(CloudInit seed, SeedInstance instance) => SeedDocuments.Build(seed, instance);

    private static string? Text(IReadOnlyList<(string Name, byte[] Content)> files, string name) =>
        files.FirstOrDefault(file => file.Name == name).Content is { } content ? Encoding.UTF8.GetString(content) : null;

    private async Task AssertHoldsAsync(string seed, (string Name, byte[] Content)[] files)
    {
        var target = _tree.Make($"read-{Guid.NewGuid():N}");
        foreach (var (name, content) in files)
        {
            await Spawned.RunAsync(_tree, null, "mcopy", "-i", seed, $"::{name}", $"{target}/");
            Assert.Equal(content, await File.ReadAllBytesAsync(Path.Combine(target, name), TestContext.Current.CancellationToken));
        }
    }
}
