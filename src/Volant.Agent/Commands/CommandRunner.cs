using System.ComponentModel;
using Microsoft.Win32.SafeHandles;
using Volant.Agent.Workloads;
using Volant.Contracts.Api;
using Volant.Linux.IO;
using Volant.Linux.Kernel;
using Volant.Linux.Processes;

namespace Volant.Agent.Commands;

/// <summary>A command could not be started.</summary>
/// <param name="code">One of <see cref="ErrorCodes"/>.</param>
/// <param name="message">A sentence with cause and remedy.</param>
internal sealed class CommandException(string code, string message) : Exception(message)
{
    /// <summary>One of <see cref="ErrorCodes"/>.</summary>
    public string Code => code;
}

/// <summary>Starts commands beside the workload, <see cref="MaxCommands"/> at a time.</summary>
/// <param name="reaper">Collects them.</param>
/// <param name="users">The guest's users.</param>
/// <param name="workload">Whose environment and directory they start from; null when there is no workload.</param>
/// <param name="clock">Clock of their time limits.</param>
internal sealed class CommandRunner(ChildReaper reaper, UserDatabase users, WorkloadCommand? workload, TimeProvider clock)
{
    /// <summary>Most commands at a time.</summary>
    public const int MaxCommands = 128;

    private const int DefaultColumns = 80;
    private const int DefaultRows = 24;

    private int _running;

    /// <summary>Commands that run now.</summary>
    public int Running => Volatile.Read(ref _running);

    /// <summary>Starts a valid request.</summary>
    /// <param name="request">What to run.</param>
    /// <param name="hasInput">Whether standard input is to be written to; it is empty otherwise.</param>
    /// <exception cref="CommandException">It could not be started.</exception>
    public RunningCommand Start(ExecRequest request, bool hasInput)
    {
        if (Interlocked.Increment(ref _running) > MaxCommands)
        {
            Interlocked.Decrement(ref _running);
            throw new CommandException(ErrorCodes.TooManyRequests, $"{MaxCommands} commands run in the guest already; wait until one has ended.");
        }

        try
        {
            return StartNow(request, hasInput);
        }
        catch (Exception e)
        {
            Interlocked.Decrement(ref _running);
            throw e switch
            {
                FormatException => new CommandException(ErrorCodes.ExecFailed, e.Message),
                Win32Exception or ArgumentException => new CommandException(ErrorCodes.ExecFailed, $"The command could not be started: {e.Message}."),
                _ => e,
            };
        }
    }

    private RunningCommand StartNow(ExecRequest request, bool hasInput)
    {
        var user = request.User is { } name ? users.Find(name) : GuestUser.Root;
        var isTerminal = request.Tty is true;
        var environment = Environment(request, user, isTerminal);
        var directory = request.Workdir ?? (workload?.WorkingDirectory is { } own && Directory.Exists(own) ? own : "/");
        if (!Directory.Exists(directory))
        {
            throw new FormatException($"The working directory '{directory}' does not exist in the guest; correct 'workdir'.");
        }

        var program = Resolve(request.Command[0], directory, environment);
        var plan = new SpawnRequest
        {
            Arguments = [program, .. request.Command.Skip(1)],
            Environment = [.. environment.Select(variable => $"{variable.Key}={variable.Value}")],
            WorkingDirectory = directory,
            User = request.User is null ? null : user.Rights,
        };
        return isTerminal
            ? StartInTerminal(plan, request.Cols ?? DefaultColumns, request.Rows ?? DefaultRows, user.Rights.Uid)
            : StartWithPipes(plan, hasInput);
    }

    private Dictionary<string, string> Environment(ExecRequest request, GuestUser user, bool isTerminal)
    {
        var variables = new Dictionary<string, string>(StringComparer.Ordinal) { ["PATH"] = WorkloadCommand.DefaultPath };
        foreach (var variable in workload?.Environment ?? [])
        {
            var equals = variable.IndexOf('=', StringComparison.Ordinal);
            variables[variable[..equals]] = variable[(equals + 1)..];
        }

        if (request.User is not null || !variables.ContainsKey("HOME"))
        {
            (variables["HOME"], variables["USER"], variables["LOGNAME"]) = (user.Home, user.Name, user.Name);
        }

        if (isTerminal)
        {
            variables.TryAdd("TERM", "xterm-256color");
        }

        foreach (var (name, value) in request.Env ?? new Dictionary<string, string>(StringComparer.Ordinal))
        {
            variables[name] = value;
        }

        return variables;
    }

    /// <summary>The path of a program: as a shell finds it.</summary>
    private static string Resolve(string word, string directory, Dictionary<string, string> environment)
    {
        if (word.Contains('/', StringComparison.Ordinal))
        {
            return Path.Combine(directory, word);
        }

        var path = environment["PATH"];
        foreach (var place in path.Split(':'))
        {
            var candidate = Path.Combine(directory, place, word);
            if (File.Exists(candidate) && (File.GetUnixFileMode(candidate) & (UnixFileMode.UserExecute | UnixFileMode.GroupExecute | UnixFileMode.OtherExecute)) != UnixFileMode.None)
            {
                return candidate;
            }
        }

        throw new FormatException($"There is no program '{word}' in the guest's PATH ({path}); give its whole path, or put it into the image.");
    }

    private RunningCommand StartInTerminal(SpawnRequest plan, int columns, int rows, uint owner)
    {
        var terminal = PseudoTerminal.Open(columns, rows, owner);
        try
        {
            return new RunningCommand(reaper.Spawn(plan with { Terminal = terminal.Device }), terminal, clock, Ended);
        }
        catch
        {
            terminal.Dispose();
            throw;
        }
    }

    private RunningCommand StartWithPipes(SpawnRequest plan, bool hasInput)
    {
        var handles = new List<SafeFileHandle>();
        try
        {
            var input = hasInput ? Pipe() : default;
            var output = Pipe();
            var error = Pipe();
            var child = reaper.Spawn(plan with { StandardInput = input.Read, StandardOutput = output.Write, StandardError = error.Write });
            foreach (var theirs in new[] { input.Read, output.Write, error.Write })
            {
                theirs?.Dispose();
            }

            return new RunningCommand(child, hasInput ? FdStream.Own(input.Write) : null, FdStream.Own(output.Read), FdStream.Own(error.Read), clock, Ended);
        }
        catch
        {
            handles.ForEach(handle => handle.Dispose());
            throw;
        }

        (SafeFileHandle Read, SafeFileHandle Write) Pipe()
        {
            var pipe = Pipes.Create();
            handles.AddRange([pipe.Read, pipe.Write]);
            return pipe;
        }
    }

    private void Ended() => Interlocked.Decrement(ref _running);
}
