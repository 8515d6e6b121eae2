using System.ComponentModel;
using System.Runtime.InteropServices;
using Volant.Linux.Kernel;
using Volant.Linux.Processes;

namespace Volant.Fledge.Output;

/// <summary>A program of the host that does a part of the work.</summary>
/// <param name="Path">Absolute path.</param>
internal sealed record ToolProgram(string Path)
{
    private const int MaxTalk = 4096;

    private static readonly string[] Directories = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

    /// <summary>Its name.</summary>
    public string Name => System.IO.Path.GetFileName(Path);

    /// <summary>Finds a program in PATH and in the places where the system keeps its own; null when there is none.</summary>
    public static ToolProgram? Find(string name) =>
        (Environment.GetEnvironmentVariable("PATH") ?? string.Empty).Split(':').Where(System.IO.Path.IsPathRooted).Concat(Directories)
            .Select(directory => System.IO.Path.Combine(directory, name))
            .FirstOrDefault(File.Exists) is { } path ? new ToolProgram(path) : null;

    /// <summary>Finds a program that is needed.</summary>
    /// <exception cref="FledgeException">It is not installed.</exception>
    public static ToolProgram Require(string name, string package, string purpose) =>
        Find(name) ?? throw new FledgeException($"{purpose} needs the program '{name}', which is not installed; install the package {package}.");

    /// <summary>Runs it to its end; it must exit with 0. What it says goes into the message when it does not.</summary>
    /// <param name="arguments">Its arguments.</param>
    /// <param name="input">Its standard input; null for none. The caller keeps it.</param>
    /// <param name="environment">Variables besides PATH, HOME and what a user needs to be found.</param>
    /// <param name="workingDirectory">Where it runs.</param>
    /// <param name="cancellationToken">Kills it.</param>
    /// <exception cref="FledgeException">It could not be started, or failed.</exception>
    public async Task RunAsync(IReadOnlyList<string> arguments, SafeHandle? input, IReadOnlyDictionary<string, string>? environment, string workingDirectory, CancellationToken cancellationToken)
    {
        var talk = System.IO.Path.Combine(System.IO.Path.GetTempPath(), $"fledge-{Guid.NewGuid():N}.log");
        try
        {
            ProcessExit exit;
            try
            {
                exit = await WaitAsync(ProcessSpawner.Spawn(new SpawnRequest
                {
                    Arguments = [Path, .. arguments],
                    Environment = [.. Variables(environment)],
                    WorkingDirectory = workingDirectory,
                    OutputFile = talk,
                    StandardInput = input,
                }), cancellationToken);
            }
            catch (Win32Exception e)
            {
                throw new FledgeException($"Cannot start '{Path}': {e.Message}", e);
            }

            if (exit.ExitCode != 0)
            {
                var text = await TailAsync(talk, cancellationToken);
                throw new FledgeException($"'{Name}' failed ({(exit.Signal is { } signal ? $"signal {signal}" : $"exit code {exit.ExitCode}")}){(text.Length == 0 ? "." : $": {text}")}");
            }
        }
        finally
        {
            File.Delete(talk);
        }
    }

    /// <summary>Runs it like <see cref="RunAsync"/>, and writes its standard input.</summary>
    /// <param name="arguments">Its arguments.</param>
    /// <param name="write">Writes; the input ends when it returns.</param>
    /// <param name="workingDirectory">Where it runs.</param>
    /// <param name="cancellationToken">Kills it.</param>
    /// <exception cref="FledgeException">It could not be started, or failed.</exception>
    public async Task RunWithInputAsync(IReadOnlyList<string> arguments, Action<Stream> write, string workingDirectory, CancellationToken cancellationToken)
    {
        var (read, end) = Pipes.Create();
        Task writing;
        using (read)
        {
            var running = RunAsync(arguments, read, null, workingDirectory, cancellationToken);
            writing = Task.Run(() =>
            {
                using var stream = new FileStream(end, FileAccess.Write, 64 * 1024);
                write(stream);
            }, CancellationToken.None);
            try
            {
                await running;
            }
            finally
            {
                // With the last reader gone, a writer that still writes is told so.
                read.Dispose();
                await Task.WhenAny(writing);
            }
        }

        await writing;
    }

    /// <summary>Waits for a child that this process has started, and kills it when cancelled.</summary>
    public static async Task<ProcessExit> WaitAsync(int pid, CancellationToken cancellationToken)
    {
        var exit = await ProcessExitWatcher.WaitForChildAsync(pid, Signals.Kill, cancellationToken);
        cancellationToken.ThrowIfCancellationRequested();
        return exit;
    }

    private static IEnumerable<string> Variables(IReadOnlyDictionary<string, string>? more)
    {
        foreach (var name in (string[])["PATH", "HOME", "TMPDIR", "XDG_RUNTIME_DIR", "USER", "LOGNAME"])
        {
            if (Environment.GetEnvironmentVariable(name) is { Length: > 0 } value)
            {
                yield return $"{name}={value}";
            }
        }

        // Messages of other programs are read by people and tests alike.
        yield return "LC_ALL=C";
        foreach (var (name, value) in more ?? new Dictionary<string, string>(StringComparer.Ordinal))
        {
            yield return $"{name}={value}";
        }
    }

    private static async Task<string> TailAsync(string file, CancellationToken cancellationToken)
    {
        if (!File.Exists(file))
        {
            return string.Empty;
        }

        var text = (await File.ReadAllTextAsync(file, cancellationToken)).Trim();
        text = text.Length > MaxTalk ? "…" + text[^MaxTalk..] : text;
        return string.Concat(text.Select(c => char.IsControl(c) && c != '\n' ? '?' : c));
    }
}
