using System.ComponentModel;
using System.Text;
using Microsoft.Win32.SafeHandles;
using Volant.Contracts.Api;
using Volant.Linux.Kernel;
using Volant.Linux.Processes;

namespace Volant.Daemon.Hypervisors;

/// <summary>Finds the program of a hypervisor and asks for its version.</summary>
/// <param name="remedy">What a user does who has none: whole sentences.</param>
internal sealed class HypervisorProgram(string remedy)
{
    private const string DefaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    private const int MaxOutputBytes = 4096;
    private const int MaxExcerpt = 200;

    private static readonly TimeSpan VersionLimit = TimeSpan.FromSeconds(5);

    /// <summary>Absolute path of a program.</summary>
    /// <param name="program">Path, or a name that is searched for in <c>PATH</c>.</param>
    /// <exception cref="VolantException"><c>hypervisor_unavailable</c>: it is not there.</exception>
    public string Find(string program)
    {
        if (program.Contains('/', StringComparison.Ordinal))
        {
            return File.Exists(program)
                ? Path.GetFullPath(program)
                : throw Unavailable($"The hypervisor '{program}' does not exist. {remedy}");
        }

        return Search(program) ?? throw Unavailable($"'{program}' is not in PATH ({SearchPath}). {remedy}");
    }

    /// <summary>Absolute path of a program in <c>PATH</c>; null when it is not there.</summary>
    public static string? Search(string program) => SearchPath.Split(':', StringSplitOptions.RemoveEmptyEntries)
        .Where(Path.IsPathRooted)
        .Select(directory => Path.Combine(directory, program))
        .FirstOrDefault(File.Exists);

    /// <summary>What <c>PROGRAM --version</c> prints, at most 4 KiB; takes some 20 ms, at most five seconds.</summary>
    /// <exception cref="VolantException"><c>hypervisor_unavailable</c>: it cannot be started or does not end.</exception>
    public string RunVersion(string path)
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
            throw Unavailable($"'{path}' cannot be started: {e.Message} {remedy}", e);
        }

        Await(path, pid);
        var buffer = new byte[MaxOutputBytes];
        return Encoding.UTF8.GetString(buffer, 0, RandomAccess.Read(output, buffer, 0));
    }

    /// <summary>The refusal of a program that is not what it should be.</summary>
    public VolantException NotA(string product, string path, string output) =>
        Unavailable($"'{path}' does not say that it is {product}: '{(output.Trim() is { Length: > MaxExcerpt } text ? text[..MaxExcerpt] : output.Trim())}'. {remedy}");

    /// <summary>A refusal.</summary>
    public static VolantException Unavailable(string message, Exception? cause = null) => new(ErrorCodes.HypervisorUnavailable, message, cause);

    /// <summary>Whether a device of the kernel can be used.</summary>
    public static bool CanOpen(string device)
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

    /// <summary>Whether <c>/dev/kvm</c> can be used and has a processor's virtualisation behind it.</summary>
    public static bool HaveKvm() => CpuFeatures.HaveVirtualisation(ReadCpuInfo()) && CanOpen("/dev/kvm");

    /// <summary>The text of <c>/proc/cpuinfo</c>; empty when it cannot be read.</summary>
    public static string ReadCpuInfo()
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

    private static string SearchPath => Environment.GetEnvironmentVariable("PATH") is { Length: > 0 } value ? value : DefaultPath;

    private void Await(string path, int pid)
    {
        using var limit = new CancellationTokenSource(VersionLimit);

        // The handle behind the task: no thread pool thread is needed to wake this one.
        var ended = ((IAsyncResult)ProcessExitWatcher.WaitForChildAsync(pid, Signals.Kill, limit.Token)).AsyncWaitHandle;
        ended.WaitOne(2 * VersionLimit);
        if (limit.IsCancellationRequested)
        {
            throw Unavailable($"'{path} --version' did not end within {VersionLimit.TotalSeconds:F0} s. {remedy}");
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
}
