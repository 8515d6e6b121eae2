using System.Globalization;
using Volant.Contracts.Boot;

namespace Volant.Contracts;

/// <summary>Collects every fault of a document while its rules run.</summary>
internal sealed class FaultList
{
    private readonly List<FieldError> _faults = [];

    public IReadOnlyList<FieldError> All => _faults;

    public void Add(string path, string message) => _faults.Add(new FieldError(path, message));

    public void Require(bool condition, string path, string message)
    {
        if (!condition)
        {
            Add(path, message);
        }
    }

    public void Range(string path, int? value, int least, int most) =>
        Require(value >= least && value <= most, path, value is < int.MaxValue and { } given && given < least
            ? string.Create(CultureInfo.InvariantCulture, $"must be at least {least}")
            : string.Create(CultureInfo.InvariantCulture, $"must be {least} to {most}"));

    public void Text(string path, string? value, int most) =>
        Require(value is { Length: > 0 } && value.Length <= most && !value.Any(char.IsControl), path,
            string.Create(CultureInfo.InvariantCulture, $"must be 1 to {most} printable characters"));

    /// <summary>A text that is one word of the kernel command line.</summary>
    public void Word(string path, string? value, int most) =>
        Require(value is { Length: > 0 } && value.Length <= most && KernelCommandLine.IsWord(value), path,
            string.Create(CultureInfo.InvariantCulture, $"must be 1 to {most} printable characters without spaces and quotes"));

    public void OneOf(string path, string? value, IReadOnlyCollection<string> allowed) =>
        Require(value is not null && allowed.Contains(value, StringComparer.Ordinal), path, $"must be one of {string.Join(", ", allowed)}");
}
