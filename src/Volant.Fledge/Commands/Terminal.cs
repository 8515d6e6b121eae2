namespace Volant.Fledge.Commands;

/// <summary>Where a command talks: data to <paramref name="Out"/>, everything else to <paramref name="Error"/>.</summary>
/// <param name="Out">Standard output.</param>
/// <param name="Error">Standard error.</param>
/// <param name="ErrorIsTerminal">Whether a person watches standard error.</param>
internal sealed record Terminal(TextWriter Out, TextWriter Error, bool ErrorIsTerminal);
