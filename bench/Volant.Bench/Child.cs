using System.ComponentModel;
using System.Globalization;
using Volant.Linux.Kernel;
using Volant.Linux.Processes;

namespace Volant.Bench;

/// <summary>A process that was started here, in a session of its own so that Ctrl-C reaches only us; disposing it ends it.</summary>
internal sealed class Child : IAsyncDisposable
{
    private static readonly string[] Path = (Environment.GetEnvironmentVariable("PATH") ?? "/usr/sbin:/usr/bin:/sbin:/bin").Split(':', StringSplitOptions.RemoveEmptyEntries);

    private readonly PidFd? _process;

    private Child(int pid)
    {
        Pid = pid;
        _process = ProcessIdentity.Find(pid) is { } identity ? PidFd.TryOpen(identity) : null;

        // A child that has ended already is a zombie, which has no identity.
        Exit = _process is null ? Task.FromResult(ProcessWait.Reap(pid) ?? new ProcessExit(pid, null, null)) : ProcessExitWatcher.WaitForExitAsync(_process);
    }

    /// <summary>Process id.</summary>
    public int Pid { get; }

    /// <summary>Completes when it has ended.</summary>
    public Task<ProcessExit> Exit { get; }

    /// <summary>Starts a program.</summary>
    /// <param name="arguments">Program, looked for in <c>PATH</c> when it has no slash, and its arguments.</param>
    /// <param name="environment">The whole environment.</param>
    /// <param name="outputFile">File for standard output and error; null to drop both.</param>
    /// <exception cref="IOException">There is no such program, or it could not be started.</exception>
    public static Child Start(IReadOnlyList<string> arguments, IReadOnlyDictionary<string, string>? environment = null, string? outputFile = null)
    {
        try
        {
            return new Child(ProcessSpawner.Spawn(new SpawnRequest
            {
                Arguments = [Find(arguments[0]), .. arguments.Skip(1)],
                Environment = [.. (environment ?? new Dictionary<string, string>(StringComparer.Ordinal)).Select(pair => $"{pair.Key}={pair.Value}")],
                OutputFile = outputFile,
            }));
        }
        catch (Win32Exception e)
        {
            throw new IOException($"'{arguments[0]}' could not be started: {e.Message}", e);
        }
    }

    /// <summary>Runs a program to its end and returns what it printed.</summary>
    /// <param name="arguments">Program and arguments.</param>
    /// <param name="directory">Existing directory for its output.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <exception cref="IOException">It could not be started or failed; the message holds its output.</exception>
    public static async Task<string> RunAsync(IReadOnlyList<string> arguments, string directory, CancellationToken cancellationToken)
    {
        var log = System.IO.Path.Combine(directory, "output");
        await using var child = Start(arguments, outputFile: log);
        var exit = await child.Exit.WaitAsync(cancellationToken);
        var output = await File.ReadAllTextAsync(log, cancellationToken);
        return exit.ExitCode == 0 ? output : throw new IOException($"'{string.Join(' ', arguments)}' failed (exit code {exit.ExitCode}, signal {exit.Signal}): {output}");
    }

    /// <summary>Resident memory in bytes: <c>VmRSS</c> of <c>/proc/PID/status</c>.</summary>
    public long ResidentBytes() => ProcFile.Kilobytes(File.ReadAllText(string.Create(CultureInfo.InvariantCulture, $"/proc/{Pid}/status")), "VmRSS") * 1024;

    /// <summary>Asks it to end and completes when it has; without an answer within the limit it is killed.</summary>
    public async Task EndAsync(TimeSpan limit)
    {
        Signal(Signals.Terminate);
        await ((Task)Exit).WaitAsync(limit, TimeProvider.System).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        Signal(Signals.Kill);
        await Exit;
        _process?.Dispose();
    }

    private void Signal(int signal)
    {
        if (!Exit.IsCompleted)
        {
            _process?.Signal(signal);
        }
    }

    private static string Find(string program) => program.Contains('/', StringComparison.Ordinal)
        ? program
        : Path.Select(directory => System.IO.Path.Combine(directory, program)).FirstOrDefault(File.Exists) ?? throw new IOException($"There is no program '{program}' in PATH.");
}
