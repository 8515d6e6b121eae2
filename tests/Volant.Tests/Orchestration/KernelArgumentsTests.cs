using System.Text;
using CsCheck;
using Volant.Contracts.Api;
using Volant.Contracts.Boot;
using Volant.Daemon;
using Volant.Daemon.Hypervisors;
using Volant.Daemon.Networking;
using Volant.Daemon.Orchestration;
using Volant.Daemon.Store;

namespace Volant.Tests.Orchestration;

/// <summary>What a VM's kernel is told reads back as what was meant, or the launch is refused in words (T06).</summary>
public sealed class KernelArgumentsTests : IAsyncLifetime
{
    private static readonly Gen<string> Text = Gen.OneOf(
        Gen.OneOf(" ", "\"", "=", "--", "\n", "\0", "\u00a0", "\u2003", "é", "volant.manifest=x", "init=/bin/sh", "a=b", ",", "%", "'").Array[0, 8].Select(string.Concat),
        Gen.Char['!', '~'].Array[0, 300].Select(chars => new string(chars)));

    private readonly OrchestratorFixture _host = new();
    private LaunchSpec? _launched;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        await _host.InstallAsync();
        _host.Launcher.FailWhen = spec =>
        {
            _launched = spec;
            return null;
        };
    }

    public ValueTask DisposeAsync() => _host.DisposeAsync();

    [Fact]
    public async Task A_manifest_that_is_too_long_for_the_command_line_travels_in_the_initramfs()
    {
        var random = new Random(6);
        var labels = Enumerable.Range(0, 60).ToDictionary(i => $"label-{i}", _ => new string([.. Enumerable.Range(0, 32).Select(_ => (char)random.Next('a', 'z'))]), StringComparer.Ordinal);
        var manifest = _host.Plugins.Get("hello") with { Labels = labels };

        await _host.Orchestrator.CreateAsync(new CreateVmRequest { Name = "web", Plugin = "hello", Config = new VmConfig { Manifest = manifest } }, Cancel);

        Assert.Equal(BootKeys.InInitrd, KernelCommandLine.Parse(_launched!.KernelArguments)[BootKeys.Manifest]);
        Assert.Equal(_launched.Paths.Initramfs, _launched.Initramfs);
        await _host.Orchestrator.DeleteAsync("web", Cancel);
    }

    [Theory]
    [InlineData("runtime", "a b")]
    [InlineData("runtime", "a\u00a0b")]
    [InlineData("runtime", "a\"b")]
    [InlineData("api.host", "::1%a b")]
    [InlineData("kernel_cmdline", "a\"b")]
    public async Task A_value_that_would_become_two_words_is_named_and_nothing_is_made(string field, string value)
    {
        var config = field switch
        {
            "runtime" => new VmConfig { Runtime = value },
            "api.host" => new VmConfig { Api = new ApiEndpoint { Host = value, Port = 80 } },
            _ => new VmConfig { KernelCmdline = value },
        };

        var failure = await Assert.ThrowsAsync<VolantException>(() => _host.Orchestrator.CreateAsync(new CreateVmRequest { Name = "web", Plugin = "hello", Config = config }, Cancel));

        Assert.Equal((ErrorCodes.InvalidRequest, $"config.{field}"), (failure.Code, Assert.Single(failure.Fields).Path));
        Assert.Empty(_host.Store.AllVms());
        _host.AssertNothingIsHeld();
    }

    [Fact]
    public async Task Words_that_are_longer_than_a_kernel_reads_are_refused_before_the_launch()
    {
        var config = new VmConfig { KernelCmdline = new string('€', VmConfigRules.MaxKernelWords) };

        var failure = await Assert.ThrowsAsync<VolantException>(() => _host.Orchestrator.CreateAsync(new CreateVmRequest { Name = "web", Plugin = "hello", Config = config }, Cancel));

        Assert.Equal((ErrorCodes.Unsupported, "config.kernel_cmdline"), (failure.Code, Assert.Single(failure.Fields).Path));
        Assert.Null(_launched);
        Assert.Empty(_host.Store.AllVms());
        _host.AssertNothingIsHeld();
    }

    [Fact]
    public async Task Whatever_a_user_may_say_the_guest_reads_what_was_meant()
    {
        await _host.Orchestrator.CreateAsync(new CreateVmRequest { Name = "web", Plugin = "hello" }, Cancel);
        var vm = _host.Store.FindVm("web")!;
        var paths = new VmPaths(Path.Combine(_host.Options.RuntimeDirectory, vm.Vm.Uid.ToString("D")), _host.Options.LogDirectory);
        var initramfs = Path.Combine(_host.Root, "images", "initramfs");
        var preparation = new BootPreparation(null!, _host.Resources, _host.Options, new Subnet(_host.Options.Subnet, _host.Options.HostIp));
        var installed = _host.Plugins.Get("hello");

        Gen.Select(Text, Text, Text, Gen.Int[0, 40]).Sample(
            (runtime, words, label, labels) =>
            {
                var config = new VmConfig
                {
                    Plugin = "hello",
                    Runtime = runtime.Length == 0 ? null : runtime,
                    KernelCmdline = words,
                    Manifest = installed with { Labels = Enumerable.Range(0, labels).ToDictionary(i => $"{i}", i => label + i, StringComparer.Ordinal) },
                };
                try
                {
                    var plan = LaunchPlan.Resolve(LaunchPlan.Normalise(config), installed, hostMemoryMib: 1 << 20);
                    AssertMeant(preparation.Specify(vm, plan, new StagedBoot("k", initramfs), paths, new NicSpec("tap", vm.Vm.MacAddress), [], _host.Launcher), plan, vm);
                }
                catch (VolantException e)
                {
                    Assert.Contains(e.Code, (string[])[ErrorCodes.InvalidRequest, ErrorCodes.Unsupported]);
                    Assert.NotEmpty(e.Fields);
                }
            },
            iter: Soak.Times(1_500, 100_000),
            threads: 1);
        await _host.Orchestrator.DeleteAsync("web", Cancel);
    }

    private static void AssertMeant(LaunchSpec spec, LaunchPlan plan, VmRecord vm)
    {
        Assert.InRange(Encoding.UTF8.GetByteCount(spec.KernelArguments), 1, KernelCommandLine.MaxBytes);

        // What the user wrote stands last, and may repeat a key: it is taken away before the rest is looked at.
        var words = plan.KernelWords?.Trim() ?? string.Empty;
        Assert.EndsWith(words, spec.KernelArguments, StringComparison.Ordinal);
        var read = KernelCommandLine.Parse(spec.KernelArguments[..^words.Length]);
        Assert.Equal((plan.Runtime, plan.Manifest.Name, vm.Name), (read[BootKeys.Runtime], read[BootKeys.Plugin], read[BootKeys.Hostname]));
        Assert.Equal(11, read.Count);
        if (read[BootKeys.Manifest] != BootKeys.InInitrd)
        {
            Assert.Equal(ManifestCodec.ToJson(plan.Manifest), ManifestCodec.ToJson(ManifestCodec.Decode(read[BootKeys.Manifest])));
        }
    }
}
