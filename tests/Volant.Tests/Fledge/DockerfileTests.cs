using System.Text;
using Volant.Contracts.Manifests;
using Volant.Fledge.Commands;
using Volant.Fledge.Configuration;
using Volant.Fledge.Oci;

namespace Volant.Tests.Fledge;

/// <summary>Dockerfiles, built by whatever is installed. fledge runs as a program of its own here, because builders are chosen by the environment.</summary>
public sealed class DockerfileTests
{
    private const string Dockerfile = "FROM scratch AS base\nARG WHO\nCOPY app /usr/bin/app\nENV WHO=$WHO\nFROM base\nCMD [\"/usr/bin/app\"]\n";

    [Theory]
    [InlineData("/usr/bin/buildah", "buildah")]
    [InlineData("/usr/bin/buildctl", "buildctl")]
    public async Task A_Dockerfile_becomes_a_disk_named_after_its_directory(string program, string mode)
    {
        Ext4Image.RequireTools();
        Assert.SkipUnless(File.Exists(program), $"{program} is not installed");
        using var tree = Project();

        var (exit, text) = await RunAsync(tree, mode, "build", tree["shop/Dockerfile"], "--build-arg", "WHO=me", "--output", tree["out/"]);

        Assert.SkipWhen(exit != 0 && text.Contains("operation not permitted", StringComparison.OrdinalIgnoreCase), $"{program} cannot build here: {text}");
        Assert.True(exit == 0, text);
        var manifest = ManifestReader.Read(await File.ReadAllBytesAsync(tree["out/shop.manifest.json"], TestContext.Current.CancellationToken));
        Assert.Equal(("shop", "me"), (manifest.Name, manifest.Workload!.Env!["WHO"]));
        var image = new Ext4Image(tree, tree["out/shop.img"]);
        await image.CheckAsync();
        Assert.Equal("app", Encoding.UTF8.GetString(await image.ReadAsync("/usr/bin/app")));
    }

    [Fact]
    public async Task A_stage_can_be_an_initramfs()
    {
        Assert.SkipUnless(File.Exists("/usr/bin/buildah"), "buildah is not installed");
        using var tree = Project();

        var (exit, text) = await RunAsync(tree, "buildah", "build", tree["shop/Dockerfile"], "--target", "base", "--output-initramfs", "--output", tree["out/x.cpio"]);

        Assert.SkipWhen(exit != 0 && text.Contains("operation not permitted", StringComparison.OrdinalIgnoreCase), $"buildah cannot build here: {text}");
        Assert.True(exit == 0, text);
        Assert.Contains(Newc.Read(await File.ReadAllBytesAsync(tree["out/x.cpio"], TestContext.Current.CancellationToken)), member => member.Path == "usr/bin/app");
    }

    [Fact]
    public async Task A_build_that_fails_says_what_the_builder_said_and_leaves_nothing()
    {
        Assert.SkipUnless(File.Exists("/usr/bin/buildah"), "buildah is not installed");
        using var tree = Project();
        tree.Write("shop/Dockerfile", "FROM scratch\nCOPY nowhere /x\n");

        var (exit, text) = await RunAsync(tree, "buildah", "build", tree["shop/Dockerfile"], "--output", tree["out/"]);

        Assert.Equal(1, exit);
        Assert.Contains("'buildah' failed", text, StringComparison.Ordinal);
        Assert.Contains("nowhere", text, StringComparison.Ordinal);
        Assert.Empty(tree.Names("out"));
    }

    [Theory]
    [InlineData("magic", "FLEDGE_BUILDKIT_MODE is 'magic'; it must be auto, buildctl, external or buildah.")]
    [InlineData("buildctl", "'buildctl' is not installed; install buildah, or BuildKit")]
    public async Task A_builder_that_is_not_there_is_named_with_the_remedy(string mode, string expected)
    {
        Assert.SkipWhen(mode == "buildctl" && File.Exists("/usr/bin/buildctl"), "buildctl is installed");
        using var tree = Project();

        var (exit, text) = await RunAsync(tree, mode, "build", tree["shop/Dockerfile"], "--output", tree["out/"]);

        Assert.Equal(1, exit);
        Assert.Contains(expected, text, StringComparison.Ordinal);
    }

    [Fact]
    public void Whatever_a_build_says_is_one_word_for_the_builder()
    {
        var build = new ImageInput.Dockerfile("/c/a b/Dockerfile.x", "/c", "the stage", new Dictionary<string, string>(StringComparer.Ordinal) { ["B"] = "--tag x", ["A"] = "1,2=3" });

        Assert.Equal(
            ["--addr", "tcp://h:1", "build", "--progress", "plain", "--frontend", "dockerfile.v0", "--local", "context=/c", "--local", "dockerfile=/c/a b", "--opt", "filename=Dockerfile.x", "--opt", $"platform=linux/{Machine}",
             "--opt", "target=the stage", "--opt", "build-arg:A=1,2=3", "--opt", "build-arg:B=--tag x", "--output", "type=oci,dest=/t/i.tar"],
            ImageBuilder.BuildctlArguments(build, "/t/i.tar", "tcp://h:1"));
        Assert.Equal(
            ["build", "--format", "oci", "--layers", "--timestamp", "0", "--file", "/c/a b/Dockerfile.x", "--platform", $"linux/{Machine}", "--target", "the stage", "--build-arg", "A=1,2=3", "--build-arg", "B=--tag x",
             "--tag", "oci-archive:/t/i.tar", "/c"],
            ImageBuilder.BuildahArguments(build, "/t/i.tar"));
    }

    /// <summary>The program that runs assemblies, above <c>shared/Microsoft.NETCore.App/VERSION/</c>: these tests may be in a program of their own.</summary>
    private static string DotnetHost => Path.GetFullPath("../../../dotnet", System.Runtime.InteropServices.RuntimeEnvironment.GetRuntimeDirectory());

    private static string Machine => System.Runtime.InteropServices.RuntimeInformation.OSArchitecture == System.Runtime.InteropServices.Architecture.Arm64 ? "arm64" : "amd64";

    private static TempTree Project()
    {
        var tree = new TempTree();
        tree.Write("kestrel", FledgeRun.StaticElf("agent"));
        tree.Write("shop/Dockerfile", Dockerfile);
        tree.Write("shop/app", "app", (UnixFileMode)0x1ED);
        tree.Write("storage.conf", $"[storage]\ndriver = \"vfs\"\ngraphroot = \"{tree["storage"]}\"\nrunroot = \"{tree["storage-run"]}\"\n");
        tree.Make("out");
        return tree;
    }

    private static async Task<(int? ExitCode, string Text)> RunAsync(TempTree tree, string mode, params string[] arguments)
    {
        var (exit, text) = await Spawned.TryAsync(
            tree, null, [$"FLEDGE_BUILDKIT_MODE={mode}", $"FLEDGE_AGENT={tree["kestrel"]}", $"CONTAINERS_STORAGE_CONF={tree["storage.conf"]}", "BUILDAH_ISOLATION=chroot"],
            [DotnetHost, typeof(FledgeApp).Assembly.Location, .. arguments]);
        return (exit?.ExitCode, text);
    }
}
