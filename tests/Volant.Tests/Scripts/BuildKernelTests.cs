using Volant.Cli.Doctor;

namespace Volant.Tests.Scripts;

/// <summary><c>scripts/build-kernel.sh</c> with a source package and a compiler that are stand-ins: what is built when, and what is left.</summary>
public sealed class BuildKernelTests : IDisposable
{
    private readonly string _root = Directory.CreateTempSubdirectory("build-kernel-").FullName;

    public BuildKernelTests()
    {
        Assert.SkipUnless(File.Exists("/usr/bin/dpkg-deb") && File.Exists("/usr/bin/xz"), "dpkg-deb and xz are not installed");
        Directory.CreateDirectory(At("bin"));
        File.WriteAllText(At("fragment"), "# wishes\nCONFIG_SMP=y\nCONFIG_LOCALVERSION=\"-microvm\"\nCONFIG_VT=n\n");
        Program("apt-cache", "case $1 in depends) echo '  Depends: linux-source-9.9' ;; show) echo 'Version: 9.9.1-1' ;; esac");
        Program("apt-get", """
            mkdir -p p/DEBIAN p/usr/src t/s
            echo source >t/s/Makefile
            tar -C t -cJf p/usr/src/linux-source-9.9.tar.xz s
            printf 'Package: linux-source-9.9\nVersion: 9.9.1-1\nArchitecture: all\nMaintainer: x\nDescription: x\n' >p/DEBIAN/control
            dpkg-deb --build p linux-source.deb >/dev/null
            rm -r p t
            """);
        Program("make", """
            for word; do case $word in O=*) out=${word#O=} ;; KCONFIG_ALLCONFIG=*) from=${word#*=} ;; esac; done
            case "$*" in
                *allnoconfig*) [ -e "$root/forgetful" ] && exec sed '/SMP/d' "$from" >"$out/.config"; exec grep -v =n "$from" >"$out/.config" ;;
            esac
            [ ! -e "$root/broken" ] || { echo 'no space left'; exit 2; }
            mkdir -p "$out/arch/x86/boot" "$out/include/config"
            echo image >"$out/arch/x86/boot/bzImage"; echo elf >"$out/vmlinux"; echo 9.9.1-microvm >"$out/include/config/kernel.release"
            """);
        Program("objcopy", "for word; do last=$word; done; echo stripped >\"$last\"");
        foreach (var tool in new[] { "gcc", "flex", "bison", "bc" })
        {
            Program(tool, "exit 1");
        }
    }

    [Fact]
    public async Task A_kernel_is_built_once_and_anew_when_the_configuration_changes()
    {
        Assert.SkipUnless(File.Exists("/usr/include/libelf.h") && File.Exists("/usr/include/openssl/ssl.h"), "libelf-dev and libssl-dev are not installed: scripts/deps.sh kernel");
        var first = await RunAsync(At("k"));
        var calls = Calls();
        var second = await RunAsync(At("k"));
        var callsOfSecond = Calls()[calls.Count..];
        Append("fragment", "CONFIG_PVH=y\n");
        Write("k/bzImage.modules.cpio", "of another kernel");
        var third = await RunAsync(At("k"));

        Assert.Equal((0, 0, 0), (first.ExitCode, second.ExitCode, third.ExitCode));
        Assert.Equal($"{At("k")}/vmlinux  9.9.1-microvm", first.Output);
        Assert.Equal($"{At("k")}/vmlinux  9.9.1-microvm (present)", second.Output);
        Assert.DoesNotContain(callsOfSecond, call => call.StartsWith("make", StringComparison.Ordinal) || call.StartsWith("apt-get", StringComparison.Ordinal));
        Assert.Equal(2, Calls().Count(call => call.Contains("bzImage vmlinux", StringComparison.Ordinal)));
        Assert.Equal(["bzImage", "kernel.build", "kernel.release", "vmlinux"], Directory.GetFileSystemEntries(At("k")).Select(Path.GetFileName).Where(name => name != ".build.lock").Order(StringComparer.Ordinal));
        Assert.Equal("stripped\n", Read("k/vmlinux"));
    }

    [Fact]
    public async Task A_build_that_broke_off_leaves_the_old_kernel_and_goes_on_without_the_steps_that_were_done()
    {
        Assert.SkipUnless(File.Exists("/usr/include/libelf.h") && File.Exists("/usr/include/openssl/ssl.h"), "libelf-dev and libssl-dev are not installed: scripts/deps.sh kernel");
        await RunAsync(At("k"));
        Append("fragment", "CONFIG_PVH=y\n");
        Write("broken", string.Empty);
        var broken = await RunAsync(At("k"));
        var old = Read("k/kernel.build");
        File.Delete(At("broken"));
        var calls = Calls().Count;
        var again = await RunAsync(At("k"));

        Assert.NotEqual(0, broken.ExitCode);
        Assert.Contains("no space left", broken.Output, StringComparison.Ordinal);
        Assert.NotEqual(old, Read("k/kernel.build"));
        Assert.Equal(0, again.ExitCode);
        Assert.DoesNotContain(Calls()[calls..], call => call.StartsWith("apt-get", StringComparison.Ordinal) || call.Contains("allnoconfig", StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_wish_that_the_source_does_not_fulfil_is_named_and_nothing_is_built()
    {
        Assert.SkipUnless(File.Exists("/usr/include/libelf.h") && File.Exists("/usr/include/openssl/ssl.h"), "libelf-dev and libssl-dev are not installed: scripts/deps.sh kernel");
        var printed = await RunAsync("--print-config", At("p"));
        Write("forgetful", string.Empty);
        var refused = await RunAsync(At("k"));

        Assert.Equal((0, "# wishes\nCONFIG_SMP=y\nCONFIG_LOCALVERSION=\"-microvm\""), (printed.ExitCode, printed.Output));
        Assert.False(File.Exists(At("p/vmlinux")));
        Assert.NotEqual(0, refused.ExitCode);
        Assert.Contains("CONFIG_SMP=y is not in it", refused.Output, StringComparison.Ordinal);
        Assert.Contains("CONFIG_VT is set, but must not be", refused.Output, StringComparison.Ordinal);
        Assert.DoesNotContain(Calls(), call => call.Contains("bzImage vmlinux", StringComparison.Ordinal));
    }

    public void Dispose() => Directory.Delete(_root, recursive: true);

    private string At(string path) => Path.Combine(_root, path);

    private string Read(string path) => File.ReadAllText(At(path));

    private void Write(string path, string text) => File.WriteAllText(At(path), text);

    private void Append(string path, string text) => File.AppendAllText(At(path), text);

    private List<string> Calls() => [.. File.ReadAllLines(At("calls"))];

    private void Program(string name, string script) =>
        TestProgram.Write(At($"bin/{name}"), $"#!/bin/bash\nset -e\nroot={_root}\necho \"{name} $*\" >>$root/calls\n{script}\n");

    private Task<(int ExitCode, string Output)> RunAsync(params string[] arguments) => HostProgram.RunAsync(
        "/usr/bin/env",
        [$"PATH={At("bin")}:/usr/sbin:/usr/bin:/sbin:/bin", $"VOLANT_KERNEL_CONFIG={At("fragment")}", Repository.PathOf("scripts/build-kernel.sh"), .. arguments],
        [],
        TestContext.Current.CancellationToken);
}
