namespace Volant.Cli.Doctor;

/// <summary>How a check came out.</summary>
internal enum CheckResult
{
    /// <summary>As it should be.</summary>
    Ok,

    /// <summary>It works, but not as well as it could.</summary>
    Warning,

    /// <summary>Something will not work.</summary>
    Failed,

    /// <summary>It could not be looked at.</summary>
    Skipped,
}

/// <summary>One finding of <c>volar doctor</c>.</summary>
/// <param name="Name">What was looked at: one word.</param>
/// <param name="Result">How it came out.</param>
/// <param name="Message">What was found.</param>
/// <param name="Remedy">What to do about it; null when nothing needs to be done.</param>
internal sealed record Check(string Name, CheckResult Result, string Message, string? Remedy = null)
{
    /// <summary>A word for people and programs.</summary>
    public string Word => Result switch
    {
        CheckResult.Ok => "ok",
        CheckResult.Warning => "warning",
        CheckResult.Failed => "failed",
        _ => "skipped",
    };
}
