namespace Volant.Fledge;

/// <summary>The user's request cannot be done; carries every reason, each a full sentence that names the remedy.</summary>
internal sealed class FledgeException : Exception
{
    /// <summary>Creates the exception for one reason.</summary>
    public FledgeException(string fault, Exception? cause = null)
        : this([fault], ExitCodes.Failed, cause)
    {
    }

    /// <summary>Creates the exception for at least one reason.</summary>
    public FledgeException(IReadOnlyList<string> faults, int exitCode = ExitCodes.Failed, Exception? cause = null)
        : base(string.Join(Environment.NewLine, faults), cause)
    {
        Faults = faults;
        ExitCode = exitCode;
    }

    /// <summary>Every reason; never empty.</summary>
    public IReadOnlyList<string> Faults { get; }

    /// <summary>One of <see cref="ExitCodes"/>.</summary>
    public int ExitCode { get; }
}
