using System.Globalization;
using Volant.Contracts;
using Volant.Contracts.Api;

namespace Volant.Daemon.Api;

/// <summary>Reads query parameters and collects what is wrong with all of them.</summary>
internal sealed class QueryFaults
{
    private readonly List<FieldError> _faults = [];

    /// <summary>Notes a fault.</summary>
    public void Add(string name, string message) => _faults.Add(new FieldError(name, message));

    /// <summary>A whole number within bounds; the fallback when it is absent.</summary>
    public int Number(string name, string? text, int fallback, int least, int most)
    {
        if (string.IsNullOrEmpty(text))
        {
            return fallback;
        }

        if (int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var number) && number >= least && number <= most)
        {
            return number;
        }

        Add(name, string.Create(CultureInfo.InvariantCulture, $"must be a whole number from {least} to {most}"));
        return fallback;
    }

    /// <summary>1 or true, 0 or false; off when it is absent.</summary>
    public bool Switch(string name, string? text)
    {
        switch (text)
        {
            case "1" or "true":
                return true;
            case null or "" or "0" or "false":
                return false;
            default:
                Add(name, "must be 1, true, 0 or false");
                return false;
        }
    }

    /// <summary>One of some words; the first when it is absent.</summary>
    public string Choice(string name, string? text, IReadOnlyList<string> allowed)
    {
        if (string.IsNullOrEmpty(text))
        {
            return allowed[0];
        }

        if (!allowed.Contains(text, StringComparer.Ordinal))
        {
            Add(name, $"must be one of {string.Join(", ", allowed)}");
        }

        return text;
    }

    /// <summary>Refuses the request when anything was wrong.</summary>
    /// <exception cref="VolantException"><c>invalid_request</c> with every fault.</exception>
    public void Reject()
    {
        if (_faults.Count > 0)
        {
            throw new VolantException(ErrorCodes.InvalidRequest, $"The request is not valid: {string.Join("; ", _faults.Select(fault => $"{fault.Path} {fault.Message}"))}.") { Fields = _faults };
        }
    }
}
