using System.ComponentModel;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using Volant.Linux.Processes;

namespace Volant.Daemon.Networking;

/// <summary>DHCP and DNS of the guests on one bridge: a dnsmasq process that is there as long as there are guests.</summary>
/// <remarks>
/// What it serves stands in files, one pair per guest, named after the tap; so the next daemon knows what this one did. The process is
/// found by its command line and adopted when its configuration is as it should be. Calls serve the network namespace of the thread.
/// A fault of dnsmasq is told and tried again, and never hinders a VM.
/// </remarks>
internal sealed partial class GuestServices(string program, GuestServiceFiles files, TimeProvider clock, ILogger logger) : IDisposable
{
    private const int Hangup = 1;
    private const int Kill = 9;
    private const int LongestEndMs = 2000;
    private const long MaxLogBytes = 1 << 20;
    private const UnixFileMode ForAll = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead | UnixFileMode.OtherRead;
    private const UnixFileMode DirectoryForAll = ForAll | UnixFileMode.UserExecute | UnixFileMode.GroupExecute | UnixFileMode.OtherExecute;

    private static readonly string[] ProgramDirectories = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    private static readonly TimeSpan FirstWait = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan LongestWait = TimeSpan.FromMinutes(1);

    private readonly Lock _gate = new();
    private PidFd? _process;
    private TimeSpan _wait = FirstWait;
    private long? _retryAt;
    private bool _disposed;

    /// <summary>Called on any thread when the process ended by itself and may be started again.</summary>
    public Action? Due { get; set; }

    /// <summary>The process; null while there is none.</summary>
    public ProcessIdentity? Process
    {
        get
        {
            lock (_gate)
            {
                return _process?.Identity;
            }
        }
    }

    /// <summary>The installed program; null when there is none.</summary>
    public static string? FindProgram() => ProgramDirectories.Select(directory => Path.Combine(directory, "dnsmasq")).FirstOrDefault(File.Exists);

    /// <summary>Whose rights it can have besides root's: the user of the distribution's package, else <c>nobody</c>.</summary>
    public static string FindUser() =>
        File.Exists("/etc/passwd") && File.ReadLines("/etc/passwd").Any(line => line.StartsWith("dnsmasq:", StringComparison.Ordinal)) ? "dnsmasq" : "nobody";

    /// <summary>
    /// Directory of the files for a daemon with a runtime directory. Root's runtime directory may lie where no other user can go, and dnsmasq
    /// reads its files as another user: then they lie below <c>/run</c>, in a directory that only root can write to.
    /// </summary>
    public static string DirectoryFor(string runtimeDirectory) => EffectiveUser.Id != 0
        ? Path.Combine(runtimeDirectory, "dnsmasq")
        : $"/run/volant-{Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(runtimeDirectory)))[..12]}";

    /// <summary>Serves a guest, and starts the process if need be.</summary>
    public void Put(string tap, AttachedGuest guest) => Try(() =>
    {
        foreach (var directory in (string[])[files.Directory, files.Names, files.Leases])
        {
            Directory.CreateDirectory(directory, DirectoryForAll);
            File.SetUnixFileMode(directory, DirectoryForAll);
        }

        var changed = Write(Path.Combine(files.Leases, tap), GuestServiceFiles.LeaseOf(guest)) | Write(Path.Combine(files.Names, tap), GuestServiceFiles.NamesOf(guest));
        Ensure_NeedsLock();
        if (changed)
        {
            ReadAgain();
        }
    });

    /// <summary>Whether a guest is served as it should be.</summary>
    public bool Serves(string tap, AttachedGuest guest) =>
        Read(Path.Combine(files.Leases, tap)) == GuestServiceFiles.LeaseOf(guest) && Read(Path.Combine(files.Names, tap)) == GuestServiceFiles.NamesOf(guest);

    /// <summary>Serves a guest no longer; the process ends with the last one. Nothing to do is no fault.</summary>
    public void Remove(string tap) => Try(() =>
    {
        var leases = Path.Combine(files.Leases, tap);
        var names = Path.Combine(files.Names, tap);
        if (File.Exists(leases) || File.Exists(names))
        {
            File.Delete(leases);
            File.Delete(names);
            ReadAgain();
        }

        if (ListTaps().Count == 0)
        {
            End_NeedsLock();
        }
    });

    /// <summary>Starts the process again if it ended, adopts that of an earlier daemon, or replaces it when it serves something else.</summary>
    public void Ensure() => Try(Ensure_NeedsLock);

    /// <summary>Ends the process and removes its files, whatever guests there are.</summary>
    public void End() => Try(End_NeedsLock);

    /// <summary>Taps of the guests that are served.</summary>
    public IReadOnlyList<string> ListTaps() => Directory.Exists(files.Leases) ? [.. Directory.EnumerateFiles(files.Leases).Select(file => Path.GetFileName(file)).Where(name => name[0] != '.')] : [];

    /// <summary>Lets go of the process, which goes on.</summary>
    public void Dispose()
    {
        lock (_gate)
        {
            _disposed = true;
            _process = null; // The watcher holds the descriptor until the process ends.
        }
    }

    private void Ensure_NeedsLock()
    {
        if (ListTaps().Count == 0 && Directory.Exists(files.Directory))
        {
            // Of an earlier daemon, which was killed at the wrong moment.
            End_NeedsLock();
        }

        if (_disposed || ListTaps().Count == 0 || (_retryAt is { } at && clock.GetTimestamp() < at))
        {
            return;
        }

        if (_process?.Identity.IsAlive() is true && Read(files.Configuration) == files.Text)
        {
            TrimLog();
            return;
        }

        var isCurrent = Read(files.Configuration) == files.Text;
        foreach (var identity in Find())
        {
            if (PidFd.TryOpen(identity) is not { } found)
            {
                continue;
            }

            if (isCurrent && _process?.Identity.IsAlive() is not true)
            {
                LogAdopted(identity.Pid);
                Watch(found);
            }
            else if (found.Identity != _process?.Identity || !isCurrent)
            {
                EndProcess(found);
            }
            else
            {
                found.Dispose();
            }
        }

        if (!isCurrent || _process?.Identity.IsAlive() is not true)
        {
            Start();
        }
    }

    private void Start()
    {
        Write(files.Configuration, files.Text);
        File.WriteAllText(files.Log, string.Empty);
        var pid = ProcessSpawner.Spawn(new SpawnRequest
        {
            Arguments = [program, "--keep-in-foreground", $"--conf-file={files.Configuration}"],
            OutputFile = files.Log,

            // The ports 53 and 67, and the neighbour table: DHCP answers go to guests that have no address yet.
            Capabilities = [Capability.NetBindService, Capability.NetAdmin],
        });
        LogStarted(pid, files.Bridge);
        if (ProcessIdentity.Find(pid) is { } identity && PidFd.TryOpen(identity) is { } process)
        {
            Watch(process);
        }
        else
        {
            _ = ProcessWait.Reap(pid);
            OnEnded(null, clock.GetTimestamp());
        }
    }

    private void Watch(PidFd process)
    {
        _process = process;
        _retryAt = null;
        _ = WatchAsync(process, clock.GetTimestamp());
    }

    private async Task WatchAsync(PidFd process, long since)
    {
        await ProcessExitWatcher.WaitForExitAsync(process);
        lock (_gate)
        {
            OnEnded(process, since);
        }

        process.Dispose();
    }

    private void OnEnded(PidFd? process, long since)
    {
        if (_disposed || _process != process)
        {
            return;
        }

        _process = null;
        _wait = clock.GetElapsedTime(since) >= LongestWait ? FirstWait : _wait;
        LogEnded(files.Bridge, LastWords(), _wait.TotalSeconds);
        _retryAt = clock.GetTimestamp() + (long)(_wait.TotalSeconds * clock.TimestampFrequency);
        _ = RetryAsync(_wait);
        _wait = _wait * 2 < LongestWait ? _wait * 2 : LongestWait;
    }

    private async Task RetryAsync(TimeSpan wait)
    {
        await Task.Delay(wait, clock, CancellationToken.None);
        Due?.Invoke();
    }

    private void End_NeedsLock()
    {
        foreach (var identity in Find())
        {
            if (PidFd.TryOpen(identity) is { } found)
            {
                EndProcess(found);
            }
        }

        _process = null;
        (_retryAt, _wait) = (null, FirstWait);
        if (Directory.Exists(files.Directory))
        {
            Directory.Delete(files.Directory, recursive: true);
        }
    }

    private void EndProcess(PidFd process)
    {
        if (_process?.Identity == process.Identity)
        {
            // Its watcher takes no notice then.
            _process = null;
        }

        // It holds nothing that needs an orderly end. When it was started by this daemon its watcher reaps it.
        process.Signal(Kill);

        // Until its ports are free.
        SpinWait.SpinUntil(() => !process.Identity.IsAlive(), LongestEndMs);
        process.Dispose();
    }

    /// <summary>
    /// Lets the process read the files of guests again; what it read before is forgotten. As long as it does not catch the signal it would be
    /// ended by it, and has not read them yet.
    /// </summary>
    private void ReadAgain()
    {
        if (_process is { } process && Catches(process.Identity.Pid, Hangup))
        {
            process.Signal(Hangup);
        }
    }

    /// <summary>Whether a process has a handler for a signal (<c>SigCgt</c> of <c>man 5 proc_pid_status</c>).</summary>
    private static bool Catches(int pid, int signal) =>
        Read(string.Create(CultureInfo.InvariantCulture, $"/proc/{pid}/status"))?.Split('\n').FirstOrDefault(line => line.StartsWith("SigCgt:", StringComparison.Ordinal)) is { } line
        && ulong.TryParse(line.AsSpan(line.IndexOf(':', StringComparison.Ordinal) + 1).Trim(), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var caught)
        && (caught & (1ul << (signal - 1))) != 0;

    /// <summary>Processes that run with our configuration: by the program's name and by the whole argument, which nobody else has.</summary>
    private List<ProcessIdentity> Find()
    {
        var argument = $"--conf-file={files.Configuration}";
        return
        [
            .. from pid in ProcessIdentity.AllPids()
               let identity = ProcessIdentity.Find(pid)
               where identity is not null
               let line = ProcessIdentity.CommandLine(pid)
               where line.Count > 0 && Path.GetFileName(line[0]) == Path.GetFileName(program) && line.Contains(argument, StringComparer.Ordinal) && identity.IsAlive()
               select identity,
        ];
    }

    private string LastWords() => Read(files.Log)?.Trim().Split('\n')[^1] is { Length: > 0 } line ? line : "it said nothing";

    private void TrimLog()
    {
        var log = new FileInfo(files.Log);
        if (log.Exists && log.Length > MaxLogBytes)
        {
            using var file = File.OpenHandle(files.Log, FileMode.Open, FileAccess.Write, FileShare.ReadWrite);
            RandomAccess.SetLength(file, 0);
        }
    }

    /// <summary>Writes a file that appears whole; false when it was so already.</summary>
    private static bool Write(string path, string text)
    {
        if (Read(path) == text)
        {
            return false;
        }

        // dnsmasq takes no notice of names that begin with a dot.
        var part = Path.Combine(Path.GetDirectoryName(path)!, $".{Path.GetFileName(path)}");
        File.WriteAllText(part, text);
        File.SetUnixFileMode(part, ForAll);
        File.Move(part, path, overwrite: true);
        return true;
    }

    private static string? Read(string path)
    {
        try
        {
            return File.ReadAllText(path);
        }
        catch (IOException)
        {
            return null;
        }
    }

    private void Try(Action action)
    {
        lock (_gate)
        {
            try
            {
                action();
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException or Win32Exception)
            {
                LogFailed(files.Bridge, e.Message);
            }
        }
    }

    [LoggerMessage(EventId = 3021, Level = LogLevel.Information, Message = "DHCP and DNS for guests: dnsmasq is started as process {ProcessId} on bridge {Bridge}")]
    private partial void LogStarted(int processId, string bridge);

    [LoggerMessage(EventId = 3022, Level = LogLevel.Information, Message = "DHCP and DNS for guests: dnsmasq of an earlier daemon is adopted, process {ProcessId}")]
    private partial void LogAdopted(int processId);

    [LoggerMessage(EventId = 3023, Level = LogLevel.Error, Message = "DHCP and DNS for guests: dnsmasq on bridge {Bridge} ended ({Reason}); it is started again in {Seconds} s")]
    private partial void LogEnded(string bridge, string reason, double seconds);

    [LoggerMessage(EventId = 3024, Level = LogLevel.Error, Message = "DHCP and DNS for guests on bridge {Bridge} could not be set up: {Reason}")]
    private partial void LogFailed(string bridge, string reason);
}
