using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;
using Volant.Linux.IO;

namespace Volant.Cli;

/// <summary>Everything that a command takes from the process it runs in; tests hand in their own.</summary>
internal sealed record CliHost
{
    private static readonly SafeFileHandle InputHandle = new(0, ownsHandle: false);
    private static readonly SafeFileHandle OutputHandle = new(1, ownsHandle: false);
    private static readonly SafeFileHandle ErrorHandle = new(2, ownsHandle: false);

    /// <summary>Opens standard input.</summary>
    public required Func<Stream> OpenInput { get; init; }

    /// <summary>Whether standard input is a terminal.</summary>
    public required bool InputIsTerminal { get; init; }

    /// <summary>Switches the terminal at standard input to raw mode until the result is disposed, which may happen on any thread and twice.</summary>
    public required Func<IDisposable> EnterRawMode { get; init; }

    /// <summary>Calls back whenever the terminal has another size, until the result is disposed.</summary>
    public required Func<Action, IDisposable> WatchSize { get; init; }

    /// <summary>Standard output: data.</summary>
    public required Stream Output { get; init; }

    /// <summary>Standard error: talk.</summary>
    public required Stream Error { get; init; }

    /// <summary>Whether standard output is a terminal.</summary>
    public required bool OutputIsTerminal { get; init; }

    /// <summary>Whether standard error is a terminal.</summary>
    public required bool ErrorIsTerminal { get; init; }

    /// <summary>Columns and rows of the terminal; null without one. Asked only when it matters.</summary>
    public required Func<(int Columns, int Rows)?> TerminalSize { get; init; }

    /// <summary>Reads an environment variable.</summary>
    public required Func<string, string?> Environment { get; init; }

    /// <summary>Absolute directory that relative paths on the command line start from.</summary>
    public required string WorkingDirectory { get; init; }

    /// <summary>Directory that stands for <c>/</c> where this host itself is looked at or changed.</summary>
    public string Root { get; init; } = "/";

    /// <summary>The clock.</summary>
    public required TimeProvider Clock { get; init; }

    /// <summary>Called before something that may take long: from then on Ctrl-C cancels in place of ending the process.</summary>
    public required Action CatchInterrupts { get; init; }

    /// <summary>The real process.</summary>
    public static CliHost FromProcess(InterruptSource interrupts) => new()
    {
        OpenInput = () => new FileStream(InputHandle, FileAccess.Read, bufferSize: 0),
        InputIsTerminal = !Console.IsInputRedirected,
        EnterRawMode = EnterRaw,
        WatchSize = changed => PosixSignalRegistration.Create(PosixSignal.SIGWINCH, _ => changed()),
        Output = OpenStandardStream(OutputHandle),
        Error = OpenStandardStream(ErrorHandle),
        OutputIsTerminal = !Console.IsOutputRedirected,
        ErrorIsTerminal = !Console.IsErrorRedirected,
        TerminalSize = () => TerminalMode.SizeOf(OutputHandle) ?? TerminalMode.SizeOf(ErrorHandle) ?? TerminalMode.SizeOf(InputHandle),
        Environment = System.Environment.GetEnvironmentVariable,
        WorkingDirectory = System.Environment.CurrentDirectory,
        Clock = TimeProvider.System,
        CatchInterrupts = interrupts.Catch,
    };

    private static RawInput EnterRaw()
    {
        var mode = TerminalMode.SetRaw(InputHandle);
        return new RawInput(mode, PosixSignalRegistration.Create(PosixSignal.SIGCONT, _ => mode.Renew()));
    }

    /// <summary>Opens standard output or standard error.</summary>
    /// <remarks>
    /// The console's own stream swallows EPIPE, so that <c>volar vms logs --follow web | head</c> would never end; a file stream
    /// reports it. But a file stream writes a seekable file at offsets of its own and would overwrite what a second writer
    /// (<c>&gt;&gt; log 2&gt;&amp;1</c>) put there, hence the console's stream for those.
    /// </remarks>
    private static Stream OpenStandardStream(SafeFileHandle handle)
    {
        try
        {
            var stream = new FileStream(handle, FileAccess.Write, bufferSize: 0);
            if (!stream.CanSeek)
            {
                return stream;
            }

            stream.Dispose();
        }
        catch (Exception e) when (e is IOException or ArgumentException or UnauthorizedAccessException)
        {
            // Closed, or not open for writing: the console's stream drops what nobody can read.
        }

        return handle == OutputHandle ? Console.OpenStandardOutput() : Console.OpenStandardError();
    }

    /// <summary>Raw mode that is set again when the program goes on after a stop: the shell had the terminal meanwhile.</summary>
    private sealed class RawInput(TerminalMode mode, PosixSignalRegistration continued) : IDisposable
    {
        public void Dispose()
        {
            mode.Dispose();
            continued.Dispose();
        }
    }
}
