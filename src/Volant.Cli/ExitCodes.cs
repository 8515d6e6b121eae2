namespace Volant.Cli;

/// <summary>What <c>volar</c> exits with. Scripts rely on these numbers (contract §8): never renumbered.</summary>
internal static class ExitCodes
{
    /// <summary>Done.</summary>
    public const int Ok = 0;

    /// <summary>The operation failed, or the daemon refused it.</summary>
    public const int Failed = 1;

    /// <summary>The command line is wrong; nothing was attempted.</summary>
    public const int Usage = 2;

    /// <summary>The daemon cannot be reached, or the connection broke before it answered.</summary>
    public const int Unreachable = 3;

    /// <summary>Waiting took longer than the limit.</summary>
    public const int TimedOut = 4;

    /// <summary>Interrupted by Ctrl-C or SIGTERM.</summary>
    public const int Interrupted = 130;

    /// <summary>The reader of standard output went away; what a shell reports for a program ended by SIGPIPE.</summary>
    public const int OutputClosed = 141;

    /// <summary>The table of <c>volar --help</c>.</summary>
    public static IReadOnlyList<(int Code, string Meaning)> Table { get; } =
    [
        (Ok, "done"),
        (Failed, "refused or failed"),
        (Usage, "wrong command line"),
        (Unreachable, "the daemon cannot be reached"),
        (TimedOut, "timed out waiting"),
        (Interrupted, "interrupted"),
    ];
}
