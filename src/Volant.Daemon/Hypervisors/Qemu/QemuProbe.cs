using System.ComponentModel;
using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;
using Microsoft.Win32.SafeHandles;
using Volant.Contracts.Api;
using Volant.Linux.Kernel;
using Volant.Linux.Processes;

namespace Volant.Daemon.Hypervisors.Qemu;

/// <summary>Finds the emulator and finds out what it and this host can do.</summary>
internal static partial class QemuProbe
{
    /// <summary>Name of the program that is searched for when none is configured.</summary>
    public const string DefaultProgram = "qemu-system-x86_64";

    private const string Remedy = "Install it (Debian, Ubuntu: apt-get install qemu-system-x86) or set VOLANT_HYPERVISOR to its path.";
    private const string DefaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    private const int MaxOutputBytes = 4096;

    private static readonly Version Oldest = new(7, 2);
    private static readonly TimeSpan VersionLimit = TimeSpan.FromSeconds(5);

    /// <summary>Runs <c>--version</c> and tries the devices; takes some 20 ms, at most five seconds.</summary>
    /// <param name="program">Path or name of the emulator; null for <see cref="DefaultProgram"/>. A name is searched for in <c>PATH</c>.</param>
    /// <exception cref="VolantException"><c>hypervisor_unavailable</c>: missing, not QEMU, or older than 7.2.</exception>
    public static QemuHost Probe(string? program)
    {
        var path = Find(program ?? DefaultProgram);
        var version = ParseVersion(path, RunVersion(path));
        var cpuinfo = ReadCpuInfo();
        return new QemuHost(path, version, CpuFeatures.HaveVirtualisation(cpuinfo) && CanOpen("/dev/kvm"), CanOpen("/dev/vhost-vsock"), CanOpen("/dev/vhost-net"), ParseTscKhz(cpuinfo));
    }

    /// <summary>Reads the first line of <c>qemu-system-x86_64 --version</c>.</summary>
    /// <exception cref="VolantException"><c>hypervisor_unavailable</c>: not QEMU, or older than 7.2.</exception>
    internal static Version ParseVersion(string path, string output)
    {
        var match = VersionLine().Match(output);
        if (!match.Success || !Version.TryParse(match.Groups["version"].ValueSpan, out var version))
        {
            throw Unavailable($"'{path}' does not say that it is QEMU: '{Excerpt(output)}'. {Remedy}");
        }

        return version >= Oldest
            ? version
            : throw Unavailable($"'{path}' is QEMU {version}; {Oldest} or newer is needed. Upgrade it (apt-get install qemu-system-x86).");
    }

    /// <summary>Frequency of the time stamp counter by <c>/proc/cpuinfo</c>: bogomips is twice the frequency in MHz.</summary>
    internal static long? ParseTscKhz(string cpuinfo)
    {
        var match = Bogomips().Match(cpuinfo);
        return match.Success && double.TryParse(match.Groups["value"].ValueSpan, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var bogomips)
            ? (long)Math.Round(bogomips * 500)
            : null;
    }

    private static string Find(string program)
    {
        if (program.Contains('/', StringComparison.Ordinal))
        {
            return File.Exists(program)
                ? Path.GetFullPath(program)
                : throw Unavailable($"The hypervisor '{program}' does not exist. {Remedy}");
        }

        var path = Environment.GetEnvironmentVariable("PATH") is { Length: > 0 } value ? value : DefaultPath;
        return path.Split(':', StringSplitOptions.RemoveEmptyEntries)
            .Where(Path.IsPathRooted)
            .Select(directory => Path.Combine(directory, program))
            .FirstOrDefault(File.Exists)
            ?? throw Unavailable($"'{program}' is not in PATH ({path}). {Remedy}");
    }

    private static string RunVersion(string path)
    {
        // A file, not a pipe: whatever the program or its children do, reading it never blocks.
        using var output = CreateScratchFile();
        int pid;
        try
        {
            pid = ProcessSpawner.Spawn(new SpawnRequest { Arguments = [path, "--version"], StandardOutput = output, StandardError = output });
        }
        catch (Win32Exception e)
        {
            throw Unavailable($"'{path}' cannot be started: {e.Message} {Remedy}", e);
        }

        if (ProcessIdentity.Find(pid) is { } identity && PidFd.TryOpen(identity) is { } process)
        {
            using (process)
            {
                Await(path, process);
            }
        }
        else
        {
            // It has ended already; a zombie is reaped at once.
            _ = ProcessWait.TryReap(pid, out _);
        }

        var buffer = new byte[MaxOutputBytes];
        return Encoding.UTF8.GetString(buffer, 0, RandomAccess.Read(output, buffer, 0));
    }

    private static void Await(string path, PidFd process)
    {
        // The handle behind the task: no thread pool thread is needed to wake this one.
        var ended = ((IAsyncResult)ProcessExitWatcher.WaitForExitAsync(process)).AsyncWaitHandle;
        if (!ended.WaitOne(VersionLimit))
        {
            process.Signal(UnixSignal.Kill);
            ended.WaitOne(VersionLimit);
            throw Unavailable($"'{path} --version' did not end within {VersionLimit.TotalSeconds:F0} s. {Remedy}");
        }
    }

    /// <summary>A file without a name: nothing is left however this process ends.</summary>
    private static SafeFileHandle CreateScratchFile()
    {
        var path = Path.Combine(Path.GetTempPath(), "volant-" + Path.GetRandomFileName());
        var file = File.OpenHandle(path, FileMode.CreateNew, FileAccess.ReadWrite, FileShare.None);
        File.Delete(path);
        return file;
    }

    private static bool CanOpen(string device)
    {
        try
        {
            File.OpenHandle(device, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite | FileShare.Delete).Dispose();
            return true;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }

    private static string ReadCpuInfo()
    {
        try
        {
            return File.ReadAllText("/proc/cpuinfo");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return string.Empty;
        }
    }

    private static string Excerpt(string output) => output.Trim() is { Length: > 200 } text ? text[..200] : output.Trim();

    private static VolantException Unavailable(string message, Exception? cause = null) =>
        new(ErrorCodes.HypervisorUnavailable, message, cause);

    [GeneratedRegex(@"\AQEMU emulator version (?<version>[0-9]{1,4}\.[0-9]{1,4}(\.[0-9]{1,4})?)", RegexOptions.CultureInvariant | RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex VersionLine();

    [GeneratedRegex(@"^bogomips\s*:\s*(?<value>[0-9]+(\.[0-9]+)?)\s*$", RegexOptions.CultureInvariant | RegexOptions.Multiline | RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex Bogomips();
}
