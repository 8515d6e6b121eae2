using Volant.Linux.Processes;

namespace Volant.EndToEnd;

/// <summary>How a command ended.</summary>
internal sealed record CommandResult(IReadOnlyList<string> Arguments, int? ExitCode, int? Signal, string Output, string Error)
{
    public override string ToString() => $"{string.Join(' ', Arguments)}\nexit {ExitCode} signal {Signal}\n--- stdout\n{Output}\n--- stderr\n{Error}";
}

/// <summary>A running command whose output goes to files.</summary>
internal sealed class Command : IDisposable
{
    private readonly IReadOnlyList<string> _arguments;
    private readonly string _directory = Directory.CreateTempSubdirectory("vt-cmd-").FullName;
    private readonly PidFd? _process;
    private readonly Task<ProcessExit> _exit;

    private Command(IReadOnlyList<string> arguments, IReadOnlyDictionary<string, string>? environment)
    {
        _arguments = [Which(arguments[0]), .. arguments.Skip(1)];
        using var output = File.OpenHandle(OutputPath, FileMode.Create, FileAccess.Write, FileShare.ReadWrite);
        using var error = File.OpenHandle(ErrorPath, FileMode.Create, FileAccess.Write, FileShare.ReadWrite);
        Dictionary<string, string> variables = new(StringComparer.Ordinal)
        {
            ["PATH"] = Environment.GetEnvironmentVariable("PATH") ?? "/usr/sbin:/usr/bin:/sbin:/bin",
            ["HOME"] = Environment.GetEnvironmentVariable("HOME") ?? "/root",
        };
        foreach (var (name, value) in environment ?? new Dictionary<string, string>(StringComparer.Ordinal))
        {
            variables[name] = value;
        }

        Pid = ProcessSpawner.Spawn(new SpawnRequest
        {
            Arguments = _arguments,
            Environment = [.. variables.Select(pair => $"{pair.Key}={pair.Value}")],
            StandardOutput = output,
            StandardError = error,
        });
        _process = ProcessIdentity.Find(Pid) is { } identity ? PidFd.TryOpen(identity) : null;
        _exit = _process is null ? Task.FromResult(ProcessWait.Reap(Pid) ?? new ProcessExit(Pid, null, null)) : ProcessExitWatcher.WaitForExitAsync(_process);
    }

    public int Pid { get; }

    public Task<ProcessExit> Exit => _exit;

    public string Output => File.ReadAllText(OutputPath);

    public string Error => File.ReadAllText(ErrorPath);

    private string OutputPath => Path.Combine(_directory, "stdout");

    private string ErrorPath => Path.Combine(_directory, "stderr");

    public static Command Start(IReadOnlyList<string> arguments, IReadOnlyDictionary<string, string>? environment = null) => new(arguments, environment);

    /// <summary>Runs a command to its end; kills it after the limit.</summary>
    public static async Task<CommandResult> RunAsync(IReadOnlyList<string> arguments, TimeSpan? limit = null, IReadOnlyDictionary<string, string>? environment = null)
    {
        using var command = Start(arguments, environment);
        return await command.WaitAsync(limit ?? TimeSpan.FromSeconds(60));
    }

    public async Task<CommandResult> WaitAsync(TimeSpan limit)
    {
        try
        {
            await _exit.WaitAsync(limit);
        }
        catch (TimeoutException e)
        {
            Signal(9);
            await _exit;
            throw new TimeoutException($"Still running after {limit}: {new CommandResult(_arguments, null, null, Output, Error)}", e);
        }

        var exit = await _exit;
        return new CommandResult(_arguments, exit.ExitCode, exit.Signal, Output, Error);
    }

    public void Signal(int signal) => _process?.Signal(signal);

    public void Dispose()
    {
        if (!_exit.IsCompleted)
        {
            Signal(9);
        }

        _process?.Dispose();
        Directory.Delete(_directory, recursive: true);
    }

    private static string Which(string program) => program.Contains('/', StringComparison.Ordinal)
        ? program
        : new[] { "/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin" }.Select(directory => Path.Combine(directory, program)).FirstOrDefault(File.Exists)
            ?? throw new FileNotFoundException($"There is no program '{program}'.");
}
