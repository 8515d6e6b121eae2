using Microsoft.Win32.SafeHandles;

namespace Volant.Cli;

/// <summary>Everything that a command takes from the process it runs in; tests hand in their own.</summary>
internal sealed record CliHost
{
    private static readonly SafeFileHandle OutputHandle = new(1, ownsHandle: false);
    private static readonly SafeFileHandle ErrorHandle = new(2, ownsHandle: false);

    /// <summary>Standard output: data.</summary>
    public required Stream Output { get; init; }

    /// <summary>Standard error: talk.</summary>
    public required Stream Error { get; init; }

    /// <summary>Whether standard output is a terminal.</summary>
    public required bool OutputIsTerminal { get; init; }

    /// <summary>Whether standard error is a terminal.</summary>
    public required bool ErrorIsTerminal { get; init; }

    /// <summary>Width of the terminal in columns; asked only when there is one.</summary>
    public required Func<int> TerminalWidth { get; init; }

    /// <summary>Reads an environment variable.</summary>
    public required Func<string, string?> Environment { get; init; }

    /// <summary>Absolute directory that relative paths on the command line start from.</summary>
    public required string WorkingDirectory { get; init; }

    /// <summary>The clock.</summary>
    public required TimeProvider Clock { get; init; }

    /// <summary>Called before something that may take long: from then on Ctrl-C cancels in place of ending the process.</summary>
    public required Action CatchInterrupts { get; init; }

    /// <summary>The real process.</summary>
    public static CliHost FromProcess(InterruptSource interrupts) => new()
    {
        Output = OpenStandardStream(OutputHandle),
        Error = OpenStandardStream(ErrorHandle),
        OutputIsTerminal = !Console.IsOutputRedirected,
        ErrorIsTerminal = !Console.IsErrorRedirected,
        TerminalWidth = AskTerminalWidth,
        Environment = System.Environment.GetEnvironmentVariable,
        WorkingDirectory = System.Environment.CurrentDirectory,
        Clock = TimeProvider.System,
        CatchInterrupts = interrupts.Catch,
    };

    /// <summary>Width of the terminal in columns.</summary>
    /// <remarks>
    /// The first question to the console makes it switch the terminal's keypad into application mode, if the terminal's description has
    /// a sequence for that, and nothing switches it back. The description of a dumb terminal has none.
    /// </remarks>
    private static int AskTerminalWidth()
    {
        var terminal = System.Environment.GetEnvironmentVariable("TERM");
        System.Environment.SetEnvironmentVariable("TERM", "dumb");
        try
        {
            return Console.WindowWidth;
        }
        finally
        {
            System.Environment.SetEnvironmentVariable("TERM", terminal);
        }
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
}
