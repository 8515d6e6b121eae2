namespace Volant.Contracts;

/// <summary>One fault in a document from outside.</summary>
/// <param name="Path">Where: member names in wire spelling joined by dots, indexes in brackets (<c>disks[0].source</c>).</param>
/// <param name="Message">What is wrong and what is expected, as the end of a sentence: "must be at least 1".</param>
public sealed record FieldError(string Path, string Message);

/// <summary>A document from outside breaks its rules; carries every fault, not only the first.</summary>
public sealed class InvalidDocumentException : FormatException
{
    /// <summary>Creates the exception from at least one fault.</summary>
    /// <param name="document">What the document is: "manifest", "request body".</param>
    /// <param name="errors">Every fault found.</param>
    public InvalidDocumentException(string document, IReadOnlyList<FieldError> errors)
        : base(Describe(document, errors)) => Errors = errors;

    /// <summary>Every fault found; never empty.</summary>
    public IReadOnlyList<FieldError> Errors { get; }

    private static string Describe(string document, IReadOnlyList<FieldError> errors)
    {
        ArgumentNullException.ThrowIfNull(errors);
        return $"The {document} is not valid: {string.Join("; ", errors.Select(error => $"{error.Path} {error.Message}"))}.";
    }
}
