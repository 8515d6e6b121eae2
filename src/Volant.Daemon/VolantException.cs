using Volant.Contracts;

namespace Volant.Daemon;

/// <summary>A failure the caller can act on; <see cref="Code"/> is stable and reaches the wire.</summary>
/// <param name="code">One of <see cref="Contracts.Api.ErrorCodes"/>.</param>
/// <param name="message">One sentence: the cause, the offending value, the remedy.</param>
/// <param name="innerException">What was underneath, for the log.</param>
internal sealed class VolantException(string code, string message, Exception? innerException = null)
    : Exception(message, innerException)
{
    /// <summary>One of <see cref="Contracts.Api.ErrorCodes"/>.</summary>
    public string Code { get; } = code;

    /// <summary>The offending fields, for a validation failure.</summary>
    public IReadOnlyList<FieldError> Fields { get; init; } = [];
}
