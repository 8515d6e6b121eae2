namespace Volant.Fledge;

/// <summary>Exit codes of <c>fledge</c>; the same meaning as those of the other programs (contract §8).</summary>
internal static class ExitCodes
{
    /// <summary>Done.</summary>
    public const int Done = 0;

    /// <summary>The input is wrong, or the host cannot.</summary>
    public const int Failed = 1;

    /// <summary>Wrong command line, or a feature that this version does not have.</summary>
    public const int Usage = 2;

    /// <summary>Interrupted (128 + SIGINT).</summary>
    public const int Interrupted = 130;
}
