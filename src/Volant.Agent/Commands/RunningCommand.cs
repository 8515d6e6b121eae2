using Volant.Agent.Workloads;
using Volant.Contracts.Api;
using Volant.Linux.IO;
using Volant.Linux.Kernel;
using Volant.Linux.Processes;

namespace Volant.Agent.Commands;

/// <summary>A command that runs; disposing of it ends it, and what is left of its process group.</summary>
internal sealed class RunningCommand : IAsyncDisposable
{
    /// <summary>How long output is waited for when the command has ended and a process outside its group still holds the pipe.</summary>
    public static readonly TimeSpan Stray = TimeSpan.FromMilliseconds(250);

    private const byte EndOfTransmission = 4; // Ctrl-D, VEOF

    private static readonly TimeSpan KillGrace = TimeSpan.FromMilliseconds(ExecRules.KillGraceMs);

    private readonly Child _child;
    private readonly PseudoTerminal? _terminal;
    private readonly FdStream? _input;
    private readonly TimeProvider _clock;
    private readonly Action _ended;

    /// <summary>A command in a terminal, which it takes over.</summary>
    public RunningCommand(Child child, PseudoTerminal terminal, TimeProvider clock, Action ended)
        : this(child, terminal.Stream, terminal.Stream, null, clock, ended) => _terminal = terminal;

    /// <summary>A command with pipes, which it takes over.</summary>
    public RunningCommand(Child child, FdStream? input, FdStream output, FdStream? error, TimeProvider clock, Action ended)
    {
        _child = child;
        _input = input;
        Output = output;
        Error = error;
        _clock = clock;
        _ended = ended;
        StartedAt = clock.GetTimestamp();
    }

    /// <summary>When it started, for <see cref="TimeProvider.GetElapsedTime(long)"/>.</summary>
    public long StartedAt { get; }

    /// <summary>Standard output, or the terminal.</summary>
    public FdStream Output { get; }

    /// <summary>Standard error; null in a terminal.</summary>
    public FdStream? Error { get; }

    /// <summary>Completes when it has ended.</summary>
    public Task<ProcessExit> WaitForExitAsync() => _child.WaitForExitAsync();

    /// <summary>Exit code by the shells' rule, and the signal if one ended it.</summary>
    public static (int Code, int? Signal) CodeOf(ProcessExit exit) => exit.Signal is { } signal ? (128 + signal, signal) : (exit.ExitCode ?? -1, null);

    /// <summary>Writes to its standard input; waits while it does not read. What an ended command did not read is dropped.</summary>
    public async ValueTask WriteAsync(ReadOnlyMemory<byte> bytes, CancellationToken cancellationToken)
    {
        try
        {
            await (_input?.WriteAsync(bytes, cancellationToken) ?? ValueTask.CompletedTask);
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException)
        {
            // It has closed its standard input, as 'head' does, or ended.
        }
    }

    /// <summary>Ends its standard input.</summary>
    public async ValueTask CloseInputAsync(CancellationToken cancellationToken)
    {
        if (_terminal is null)
        {
            await (_input?.DisposeAsync() ?? ValueTask.CompletedTask);
        }
        else
        {
            await WriteAsync(new[] { EndOfTransmission }, cancellationToken);
        }
    }

    /// <summary>Signals its process group, or in a terminal the one in the foreground.</summary>
    public void Signal(int signal)
    {
        if (_terminal?.ForegroundGroup() is not { } foreground || foreground == _child.Pid)
        {
            _child.Signal(signal);
        }
        else if (!_child.WaitForExitAsync().IsCompleted)
        {
            // The group belongs to this session: a shell that runs holds its terminal.
            Signals.SendToGroup(foreground, signal);
        }
    }

    /// <summary>Changes the size of the terminal; does nothing without one.</summary>
    public void Resize(TerminalSize size) => _terminal?.Resize(size.Cols, size.Rows);

    /// <summary>Hands on what it writes to <paramref name="from"/>, until the end of it, or until it has ended and nothing more comes.</summary>
    /// <param name="from"><see cref="Output"/> or <see cref="Error"/>.</param>
    /// <param name="buffer">Room for the bytes.</param>
    /// <param name="take">Takes some bytes; the command waits as long as it takes.</param>
    /// <param name="cancellationToken">Ends it.</param>
    public async Task CarryAsync(FdStream from, Memory<byte> buffer, Func<int, ValueTask> take, CancellationToken cancellationToken)
    {
        var isStray = false;
        try
        {
            while (await ReadAsync(from, buffer, isStray, cancellationToken) is { } count)
            {
                if (count == 0)
                {
                    // Nothing came for a while. What is there is taken; what may still come is not waited for.
                    isStray = true;
                    continue;
                }

                await take(count);
            }
        }
        catch (IOException) when (_terminal is not null)
        {
            // EIO: nobody has the terminal open any more.
        }
    }

    /// <summary>Reads; null at the end, 0 when it has ended and nothing came, although somebody still holds the other side.</summary>
    private async Task<int?> ReadAsync(FdStream from, Memory<byte> buffer, bool isStray, CancellationToken cancellationToken)
    {
        using var giveUp = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var read = from.ReadAsync(buffer, giveUp.Token).AsTask();
        if (!read.IsCompleted && !isStray && await Task.WhenAny(read, WaitForExitAsync()) != read)
        {
            // What it wrote itself was there before its end.
            await Task.WhenAny(read, Task.Delay(Stray, _clock, cancellationToken));
        }

        if (!read.IsCompleted)
        {
            await giveUp.CancelAsync();
        }

        try
        {
            return await read is > 0 and var count ? count : null;
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            return isStray ? null : 0;
        }
    }

    /// <summary>Ends it: hangs up, and kills what has not ended after a short while.</summary>
    public async Task EndAsync()
    {
        if (!WaitForExitAsync().IsCompleted)
        {
            _child.Signal(Signals.HangUp);
            try
            {
                await WaitForExitAsync().WaitAsync(KillGrace, _clock);
            }
            catch (TimeoutException)
            {
                _child.Signal(Signals.Kill);
                await WaitForExitAsync();
            }
        }
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await EndAsync();
        _terminal?.Dispose();
        _input?.Dispose();
        Output.Dispose();
        Error?.Dispose();
        _ended();
    }
}
