using System.CommandLine;
using System.Globalization;
using Volant.Cli.Images;
using Volant.Cli.Media;
using Volant.Contracts;
using Volant.Contracts.Api;
using Volant.Contracts.Manifests;

namespace Volant.Cli.Commands;

/// <summary><c>volar run</c>: a VM from a container image, in one command.</summary>
internal sealed class RunCommand
{
    private const int RandomDigits = 4;

    private readonly Argument<string> _image = new("IMAGE") { Description = "Image: NAME, docker://NAME, oci:DIR, oci-archive:FILE or docker-archive:FILE" };
    private readonly Argument<string[]> _arguments = new("ARG") { Description = "After --: arguments in place of the image's own", Arity = ArgumentArity.ZeroOrMore };
    private readonly Option<string?> _name = Symbols.Text("--name", "NAME", "Name of the VM [default: made from the image's]");
    private readonly Option<string[]> _publish = Symbols.Repeated("--publish", "HOST:GUEST", "Publish a port of the guest on the host; /udp behind it for UDP, no HOST for a free port", "-p");
    private readonly Option<string[]> _env = Symbols.Repeated("--env", "NAME=VALUE", "Set a variable of the workload", "-e");
    private readonly Option<string[]> _volumes = VolumeOption.Create();
    private readonly Option<int?> _cpu = Symbols.Number("--cpu", "N", "Virtual CPUs", 1, ManifestRules.MaxCpuCores);
    private readonly Option<int?> _memory = Symbols.Number("--memory", "MIB", "Memory in MiB", 1, ManifestRules.MaxMemoryMib);
    private readonly Option<string?> _network = Symbols.Text("--network", "MODE", "bridged, dhcp, or vsock for a guest without a network [default: bridged]");
    private readonly Option<string?> _restart = Symbols.Restart();
    private readonly Option<bool> _wait = Symbols.Wait("Wait until the VM is ready");
    private readonly Option<TimeSpan?> _timeout = Symbols.WaitTimeout();

    private RunCommand()
    {
    }

    /// <summary>Makes the command.</summary>
    public static Command Create(CommandScope scope) => new RunCommand().Define(scope);

    private Command Define(CommandScope scope)
    {
        _network.AcceptOnlyFromAmong([.. NetworkModes.All]);
        return scope.Define(
            "run",
            "Run a container image in a VM. Its root disk is built at the first use and kept.",
            [_image, _arguments, _name, _publish, _env, _volumes, _cpu, _memory, _network, _restart, _wait, _timeout],
            ["volar run registry.example/web -p 8080:80 --wait", "volar run oci:./image --name box -- sleep 3600"],
            RunAsync);
    }

    private async Task<int> RunAsync(ParseResult parsed, CommandRun run, CancellationToken cancellationToken)
    {
        var wait = Symbols.WaitOf(parsed, _wait, _timeout);
        var ports = (parsed.GetValue(_publish) ?? []).Select(PublishedPort.Parse).ToArray();
        var volumes = VolumeOption.Read(parsed, _volumes);
        var variables = Variables(parsed);
        if (parsed.GetValue(_name) is { } wanted && !Names.IsDnsLabel(wanted))
        {
            throw CliException.Usage($"'{wanted}' is no VM name: it must be 1 to 63 lower-case letters, digits and inner hyphens.");
        }

        run.Host.CatchInterrupts();
        var image = await BuiltImage.GetAsync(new FledgeProgram(run.Host), run.Host, parsed.GetRequiredValue(_image), run.Talk.Say, cancellationToken);
        var manifest = await UploadAsync(run, image, cancellationToken);
        await run.Client.InstallPluginAsync(JsonDocuments.Serialise(manifest), cancellationToken);

        var name = parsed.GetValue(_name) ?? NameFor(image.Manifest.Name!);
        var own = Changed(manifest, image.Entrypoint, parsed.GetValue(_arguments) ?? [], variables);
        var network = parsed.GetValue(_network) is { } mode ? new NetworkConfig { Mode = mode } : null;
        var restart = parsed.GetValue(_restart) is { } policy ? new RestartConfig { Policy = policy } : null;
        var request = new CreateVmRequest
        {
            Name = name,
            Plugin = manifest.Name,
            CpuCores = parsed.GetValue(_cpu),
            MemoryMb = parsed.GetValue(_memory),
            Config = ports.Length > 0 || own is not null || network is not null || volumes is not null || restart is not null
                ? new VmConfig { Expose = ports.Length > 0 ? ports : null, Manifest = own, Network = network, Volumes = volumes, Restart = restart }
                : null,
        };
        var vm = wait is { } limit
            ? await new VmWait(run, name, limit).ForReadyAsync(() => run.Client.CreateVmAsync(request, wait, cancellationToken), cancellationToken)
            : await run.Client.CreateVmAsync(request, wait: null, cancellationToken);
        run.PrintRow(vm);
        return ExitCodes.Ok;
    }

    /// <summary>The manifest with its disk where the daemon has it. A disk that it has already is not even read.</summary>
    private static async Task<PluginManifest> UploadAsync(CommandRun run, BuiltImage image, CancellationToken cancellationToken)
    {
        if (image.Manifest.Rootfs is { Checksum: { } checksum } disk && Sha256Text.Normalise(checksum) is { } sha256 && await run.Client.HasArtifactAsync(sha256, cancellationToken))
        {
            return image.Manifest with { Rootfs = disk with { Url = MediaReference.ForDigest(sha256) } };
        }

        await using var uploads = new MediaUploads(run.Client, run.Talk, DocumentOrigin.InDirectory(image.Directory));
        return await uploads.UploadAsync(image.Manifest, cancellationToken);
    }

    /// <summary>A VM's own manifest where it differs from the image's; null where it does not.</summary>
    internal static PluginManifest? Changed(PluginManifest manifest, IReadOnlyList<string> entrypoint, IReadOnlyList<string> arguments, IReadOnlyDictionary<string, string> variables)
    {
        if (arguments.Count == 0 && variables.Count == 0)
        {
            return null;
        }

        var workload = manifest.Workload!;
        var env = new Dictionary<string, string>(workload.Env ?? new Dictionary<string, string>(StringComparer.Ordinal), StringComparer.Ordinal);
        foreach (var (name, value) in variables)
        {
            env[name] = value;
        }

        return manifest with { Workload = workload with { Env = env, Entrypoint = arguments.Count == 0 ? workload.Entrypoint : Command(workload.Entrypoint!, entrypoint.Count, arguments) } };
    }

    /// <summary>Arguments follow the image's entrypoint. Without one they are the command, whose program a shell of the image looks up unless it is a path.</summary>
    private static string[] Command(IReadOnlyList<string> words, int entrypoint, IReadOnlyList<string> arguments) =>
        entrypoint > 0 ? [.. words.Take(entrypoint), .. arguments]
        : arguments[0].StartsWith('/') ? [.. arguments]
        : ["/bin/sh", "-c", "exec \"$@\"", "sh", .. arguments];

    private Dictionary<string, string> Variables(ParseResult parsed)
    {
        var variables = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var text in parsed.GetValue(_env) ?? [])
        {
            variables[text.Split('=')[0]] = text.IndexOf('=', StringComparison.Ordinal) is > 0 and var equals ? text[(equals + 1)..] : throw CliException.Usage($"--env '{text}' must be NAME=VALUE.");
        }

        return variables;
    }

    /// <summary>A VM name of the plugin's, which may have dots and underscores, and a few random digits.</summary>
    private static string NameFor(string plugin)
    {
        var stem = plugin[..^"-123456789012".Length].Replace('_', '-').Replace('.', '-').Trim('-');
        stem = stem.Length > 40 ? stem[..40].TrimEnd('-') : stem;
        return string.Create(CultureInfo.InvariantCulture, $"{stem}-{Guid.NewGuid().ToString("N")[..RandomDigits]}");
    }
}
