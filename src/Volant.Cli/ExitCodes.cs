namespace Volant.Cli;

/// <summary>What <c>volar</c> exits with. Scripts rely on these numbers: never renumbered.</summary>
internal static class ExitCodes
{
    /// <summary>Done.</summary>
    public const int Ok = 0;

    /// <summary>The operation failed, or the daemon refused it for a reason that has no code of its own.</summary>
    public const int Failed = 1;

    /// <summary>The command line is wrong; nothing was attempted.</summary>
    public const int Usage = 2;

    /// <summary>What the command names does not exist.</summary>
    public const int NotFound = 3;

    /// <summary>The operation conflicts with the current state: name taken, plugin in use or disabled.</summary>
    public const int Conflict = 4;

    /// <summary>The daemon cannot be reached, or the connection broke before it answered.</summary>
    public const int Unreachable = 5;

    /// <summary>No key, a wrong key, or an address that is not allowed.</summary>
    public const int Denied = 6;

    /// <summary>Waiting took longer than the limit.</summary>
    public const int TimedOut = 7;

    /// <summary>Interrupted by Ctrl-C or SIGTERM.</summary>
    public const int Interrupted = 130;

    /// <summary>The reader of standard output went away; what a shell reports for a program ended by SIGPIPE.</summary>
    public const int OutputClosed = 141;

    /// <summary>The table of <c>volar --help</c>.</summary>
    public static IReadOnlyList<(int Code, string Meaning)> Table { get; } =
    [
        (Ok, "done"),
        (Failed, "the operation failed"),
        (Usage, "wrong command line"),
        (NotFound, "no such VM, plugin or artifact"),
        (Conflict, "conflict with the current state"),
        (Unreachable, "the daemon cannot be reached"),
        (Denied, "key missing or wrong, or address not allowed"),
        (TimedOut, "timed out waiting"),
        (Interrupted, "interrupted"),
    ];
}
