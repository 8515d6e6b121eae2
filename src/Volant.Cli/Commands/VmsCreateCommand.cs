using System.CommandLine;
using Volant.Cli.Api;
using Volant.Cli.Media;
using Volant.Contracts.Api;
using Volant.Contracts.Manifests;

namespace Volant.Cli.Commands;

/// <summary><c>volar vms create</c>: makes the request from options and a configuration file; options win.</summary>
internal sealed class VmsCreateCommand
{
    private readonly Argument<string> _name = Symbols.VmName("Name of the new VM");
    private readonly Option<string?> _plugin = Symbols.Plugin("Plugin to make it from; may stand in --config");
    private readonly Option<string?> _runtime = Symbols.Text("--runtime", "RUNTIME", "Runtime family in place of the plugin's");
    private readonly Option<int?> _cpu = Symbols.Number("--cpu", "N", "Virtual CPUs", 1, ManifestRules.MaxCpuCores);
    private readonly Option<int?> _memory = Symbols.Number("--memory", "MIB", "Memory in MiB", 1, ManifestRules.MaxMemoryMib);
    private readonly Option<string?> _kernelCmdline = Symbols.Text("--kernel-cmdline", "WORDS", "Words to append to the kernel command line");
    private readonly Option<string?> _config = Symbols.Text("--config", "FILE", "VM configuration (JSON); options win over it");
    private readonly Option<string?> _apiHost = Symbols.Text("--api-host", "IP", "Address that the guest agent listens on");
    private readonly Option<int?> _apiPort = Symbols.Number("--api-port", "PORT", "Port that the guest agent listens on", 1, 65_535);
    private readonly Option<string?> _kernel = Symbols.Text("--kernel", "PATH", "Kernel image on the daemon's host");
    private readonly Option<string?> _initramfs = Symbols.Text("--initramfs", "URL|FILE", "Initramfs in place of the plugin's; a local file is uploaded");
    private readonly Option<string?> _initramfsChecksum = Symbols.Text("--initramfs-checksum", "SHA256", "Its SHA-256");
    private readonly Option<string[]> _devices = Symbols.Repeated("--device", "PCI", "PCI address of a device to pass through");
    private readonly Option<string[]> _allowlist = Symbols.Repeated("--device-allowlist", "VENDOR:DEVICE", "Allowed devices, such as 10de:*");
    private readonly Option<string[]> _volumes = VolumeOption.Create();
    private readonly Option<string?> _restart = Symbols.Restart();
    private readonly Option<bool> _wait = Symbols.Wait("Wait until the VM is ready");
    private readonly Option<TimeSpan?> _timeout = Symbols.WaitTimeout();

    private VmsCreateCommand()
    {
    }

    /// <summary>Makes the command.</summary>
    public static Command Create(CommandScope scope) => new VmsCreateCommand().Define(scope);

    private Command Define(CommandScope scope) => scope.Define(
        "create",
        "Create and start a VM.",
        [
            _name, _plugin, _runtime, _cpu, _memory, _kernelCmdline, _config, _apiHost, _apiPort, _kernel,
            _initramfs, _initramfsChecksum, _devices, _allowlist, _volumes, _restart, _wait, _timeout,
        ],
        ["volar vms create web --plugin hello --wait", "volar vms create web --plugin hello --cpu 2 --memory 512 --volume data:vdb", "volar vms create web --plugin hello --config web.json"],
        RunAsync);

    private async Task<int> RunAsync(ParseResult parsed, CommandRun run, CancellationToken cancellationToken)
    {
        var wait = Symbols.WaitOf(parsed, _wait, _timeout);
        var config = ReadConfig(parsed, run.Host.WorkingDirectory);
        if ((parsed.GetValue(_plugin) ?? config?.Plugin) is not { } plugin)
        {
            throw CliException.Usage("Name the plugin with --plugin; 'volar plugins list' shows the installed ones.");
        }

        if (config is not null)
        {
            await using var uploads = new MediaUploads(run.Client, run.Talk, DocumentOrigin.InDirectory(run.Host.WorkingDirectory));
            config = await uploads.UploadAsync(config, cancellationToken);
        }

        var request = new CreateVmRequest
        {
            Name = parsed.GetRequiredValue(_name),
            Plugin = plugin,
            Runtime = parsed.GetValue(_runtime),
            CpuCores = parsed.GetValue(_cpu),
            MemoryMb = parsed.GetValue(_memory),
            KernelCmdline = parsed.GetValue(_kernelCmdline),
            ApiHost = parsed.GetValue(_apiHost),
            ApiPort = parsed.GetValue(_apiPort),
            Config = config,
        };
        run.PrintRow(await CreateAsync(run, request, wait, cancellationToken));
        return ExitCodes.Ok;
    }

    private static Task<Answer<Vm>> CreateAsync(CommandRun run, CreateVmRequest request, TimeSpan? wait, CancellationToken cancellationToken) =>
        wait is { } limit
            ? new VmWait(run, request.Name ?? string.Empty, limit).ForReadyAsync(() => run.Client.CreateVmAsync(request, wait, cancellationToken), cancellationToken)
            : run.Client.CreateVmAsync(request, wait: null, cancellationToken);

    /// <summary>The configuration file with the options on top; null when neither says anything.</summary>
    private VmConfig? ReadConfig(ParseResult parsed, string workingDirectory)
    {
        var config = parsed.GetValue(_config) is { } file ? JsonDocuments.ReadConfigFile(file, workingDirectory).Config : null;
        if (parsed.GetValue(_kernel) is { } kernel)
        {
            config = (config ?? new VmConfig()) with { KernelOverride = kernel };
        }

        var checksum = parsed.GetValue(_initramfsChecksum);
        if (parsed.GetValue(_initramfs) is { } initramfs)
        {
            var media = new BootMedia { Url = DocumentOrigin.InDirectory(workingDirectory).Resolve(initramfs), Checksum = checksum };
            config = (config ?? new VmConfig()) with { Initramfs = media };
        }
        else if (checksum is not null)
        {
            throw CliException.Usage("--initramfs-checksum has no meaning without --initramfs; add it.");
        }

        if (VolumeOption.Read(parsed, _volumes) is { } volumes)
        {
            config = (config ?? new VmConfig()) with { Volumes = volumes };
        }

        if (parsed.GetValue(_restart) is { } policy)
        {
            config = (config ?? new VmConfig()) with { Restart = (config?.Restart ?? new RestartConfig()) with { Policy = policy } };
        }

        var devices = parsed.GetValue(_devices) is { Length: > 0 } addresses ? addresses : null;
        var allowlist = parsed.GetValue(_allowlist) is { Length: > 0 } patterns ? patterns : null;
        if (devices is not null || allowlist is not null)
        {
            var given = config?.Devices ?? new DeviceConfig();
            config = (config ?? new VmConfig()) with
            {
                Devices = given with { PciPassthrough = devices ?? given.PciPassthrough, Allowlist = allowlist ?? given.Allowlist },
            };
        }

        return config;
    }
}
