using Volant.Contracts;
using Volant.Contracts.Api;

namespace Volant.Cli;

/// <summary>A failure that the user is told about: one line, the offending fields, perhaps a hint, and an exit code.</summary>
/// <param name="exitCode">One of <see cref="ExitCodes"/>.</param>
/// <param name="message">One sentence: cause, offending value, remedy. May hold text of the server; it is cleaned when printed.</param>
/// <param name="innerException">What was underneath.</param>
internal sealed class CliException(int exitCode, string message, Exception? innerException = null)
    : Exception(message, innerException)
{
    /// <summary>One of <see cref="ExitCodes"/>.</summary>
    public int ExitCode { get; } = exitCode;

    /// <summary>Stable machine word: the daemon's, or one of ours for what never reached the daemon.</summary>
    public string? Code { get; init; }

    /// <summary>HTTP status of the daemon's refusal; null when the failure is ours.</summary>
    public int? Status { get; init; }

    /// <summary>Whether what was named does not exist.</summary>
    public bool IsNotFound => Status == 404;

    /// <summary>Whether the daemon does not let this caller in, whatever is asked.</summary>
    public bool IsDenied => Status is 401 or 403;

    /// <summary>The offending fields.</summary>
    public IReadOnlyList<FieldError> Fields { get; init; } = [];

    /// <summary>What to do next.</summary>
    public string? Hint { get; init; }

    /// <summary>The problem document as the daemon sent it; null when the failure is ours.</summary>
    public ReadOnlyMemory<byte>? ProblemJson { get; init; }

    /// <summary>The command line is wrong in a way that the parser does not see.</summary>
    public static CliException Usage(string message) => new(ExitCodes.Usage, message) { Code = "usage" };

    /// <summary>The operation failed before or without the daemon.</summary>
    public static CliException Failed(string message, Exception? cause = null) => new(ExitCodes.Failed, message, cause) { Code = "failed" };

    /// <summary>Nobody answered in time.</summary>
    public static CliException TimedOut(string message, Exception? cause = null) => new(ExitCodes.TimedOut, message, cause) { Code = ErrorCodes.Timeout };

    /// <summary>A local document breaks its rules.</summary>
    public static CliException Invalid(string document, IReadOnlyList<FieldError> fields) =>
        new(ExitCodes.Failed, $"{document} is not valid.") { Code = "invalid_document", Fields = fields };
}
