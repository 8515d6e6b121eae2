using Volant.Contracts.Api;
using Volant.Contracts.Boot;
using Volant.Daemon;
using Volant.Daemon.Guests;
using Volant.Linux.Processes;

namespace Volant.Bench;

/// <summary>What a hypervisor of the daemon was started with, to start it by hand.</summary>
internal sealed class BareQemu
{
    // What volantd waits between two attempts to reach an agent.
    private static readonly TimeSpan RetryDelay = TimeSpan.FromMilliseconds(250);
    private static readonly TimeSpan SocketPause = TimeSpan.FromMilliseconds(1);
    private static readonly TimeSpan StateWait = TimeSpan.FromSeconds(25);

    private readonly BenchContext _context;
    private readonly IReadOnlyList<string> _arguments;
    private readonly VmFiles _files;

    private BareQemu(BenchContext context, IReadOnlyList<string> arguments, VmFiles files)
    {
        _context = context;
        _arguments = arguments;
        _files = files;
    }

    /// <summary>Takes the command line of a VM that runs, and lets its sockets and logs lie somewhere else.</summary>
    public static BareQemu Capture(BenchContext context, BenchDaemon daemon, Vm vm)
    {
        var uid = vm.Uid.ToString("D");
        var directory = context.NewDirectory("q");
        var files = new VmFiles(Path.Combine(directory, "run", uid), Path.Combine(directory, "logs", uid));
        var arguments = ProcessIdentity.CommandLine(vm.Pid ?? throw new IOException($"VM {vm.Name} has no process."))
            .Select(word => word
                .Replace(Path.Combine(daemon.RuntimeDirectory, uid), files.Sockets, StringComparison.Ordinal)
                .Replace(Path.Combine(daemon.LogDirectory, uid), files.Logs, StringComparison.Ordinal))
            .ToList();
        Directory.CreateDirectory(files.Sockets);
        Directory.CreateDirectory(files.Logs);

        // A private initramfs lies beside the sockets and goes with the VM.
        var initramfs = Path.Combine(daemon.RuntimeDirectory, uid, "initramfs");
        if (File.Exists(initramfs))
        {
            File.Copy(initramfs, Path.Combine(files.Sockets, "initramfs"));
        }

        return new BareQemu(context, arguments, files);
    }

    /// <summary>Starts it, waits until the agent says that the guest is ready, and kills it.</summary>
    /// <returns>Milliseconds from just before the start until ready, and the release of the guest's kernel.</returns>
    public async Task<(double Ms, string Kernel)> BootAsync(CancellationToken cancellationToken)
    {
        foreach (var file in Directory.GetFiles(_files.Sockets, "*.sock"))
        {
            File.Delete(file);
        }

        var started = _context.Clock.GetTimestamp();
        await using var process = Child.Start(_arguments, outputFile: Path.Combine(_files.Logs, "hypervisor.log"));
        var endpoint = Endpoint();
        while (endpoint is GuestEndpoint.SerialPort port && !File.Exists(port.SocketPath))
        {
            CheckAlive(process);
            await Task.Delay(SocketPause, _context.Clock, cancellationToken);
        }

        await using var guest = new GuestClient(endpoint, _context.Clock);
        for (var revision = 0L; ;)
        {
            try
            {
                var state = await guest.GetStateAsync(revision, StateWait, cancellationToken);
                if (state.Ready)
                {
                    return (_context.MillisecondsSince(started), state.Kernel);
                }

                revision = state.Revision;
            }
            catch (VolantException)
            {
                CheckAlive(process);
                await Task.Delay(RetryDelay, _context.Clock, cancellationToken);
            }
        }
    }

    /// <summary>The guest channel that the command line describes; the guest takes the key that the first connection brings.</summary>
    private GuestEndpoint Endpoint()
    {
        const string Cid = "guest-cid=";
        return _arguments.FirstOrDefault(word => word.Contains(Cid, StringComparison.Ordinal)) is { } device
            ? new GuestEndpoint.Vsock(long.Parse(device[(device.IndexOf(Cid, StringComparison.Ordinal) + Cid.Length)..].Split(',')[0], System.Globalization.CultureInfo.InvariantCulture), GuestLink.VsockPort)
            : new GuestEndpoint.SerialPort(Path.Combine(_files.Sockets, "agent.sock"), new byte[GuestLink.KeyLength]);
    }

    private void CheckAlive(Child process)
    {
        if (process.Exit.IsCompleted)
        {
            throw new IOException($"QEMU, started by hand, ended: {File.ReadAllText(Path.Combine(_files.Logs, "hypervisor.log"))}");
        }
    }

    private sealed record VmFiles(string Sockets, string Logs);
}
