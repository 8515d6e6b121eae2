using System.Globalization;
using System.Text;

namespace Volant.Bench;

/// <summary>What a figure should be.</summary>
/// <param name="Limit">Largest good value, in the unit of the figure; the smallest with <paramref name="AtLeast"/>.</param>
/// <param name="Worst">Whether every value must be good; otherwise the median.</param>
/// <param name="AtLeast">Whether more is better.</param>
internal sealed record Aim(double Limit, bool Worst = false, bool AtLeast = false)
{
    /// <summary>Whether the values meet it.</summary>
    public bool IsMet(Samples samples) => AtLeast ? (Worst ? samples.Min : samples.Median) >= Limit : (Worst ? samples.Max : samples.Median) <= Limit;

    /// <inheritdoc/>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{(Worst ? AtLeast ? "min" : "max" : "median")} {(AtLeast ? "≥" : "≤")} {Limit:0.##}");
}

/// <summary>One figure.</summary>
internal sealed record Row(string Title, string Unit, Samples Samples, Aim? Aim = null);

/// <summary>Figures that were taken together.</summary>
internal sealed record Section(string Title)
{
    private readonly List<Row> _rows = [];
    private readonly List<string> _notes = [];

    /// <summary>The figures.</summary>
    public IReadOnlyList<Row> Rows => _rows;

    /// <summary>What a reader must know to read them, one sentence or more each.</summary>
    public IReadOnlyList<string> Notes => _notes;

    /// <summary>Adds a figure.</summary>
    public Section Add(string title, string unit, IEnumerable<double> values, Aim? aim = null)
    {
        _rows.Add(new Row(title, unit, new Samples(values), aim));
        return this;
    }

    /// <summary>Adds a remark.</summary>
    public Section Note(string text)
    {
        _notes.Add(text);
        return this;
    }
}

/// <summary>Writes all figures as Markdown.</summary>
internal static class Report
{
    /// <summary>The whole document.</summary>
    public static string Write(IReadOnlyList<(string Name, string Value)> machine, IReadOnlyList<Section> sections)
    {
        var aims = sections.SelectMany(section => section.Rows).Where(row => row.Aim is not null).ToList();
        var text = new StringBuilder();
        text.Append("# Measurements\n\n")
            .Append(CultureInfo.InvariantCulture, $"{aims.Count(row => row.Aim!.IsMet(row.Samples))} of {aims.Count} aims are met. ")
            .Append("[README.md](README.md) says what each figure means. MB is 1,000,000 bytes, MiB 1,048,576.\n\n| machine | |\n|---|---|\n");
        foreach (var (name, value) in machine)
        {
            text.Append(CultureInfo.InvariantCulture, $"| {name} | {Cell(value)} |\n");
        }

        foreach (var section in sections)
        {
            Write(text, section);
        }

        return text.ToString();
    }

    private static void Write(StringBuilder text, Section section)
    {
        text.Append(CultureInfo.InvariantCulture, $"\n## {section.Title}\n");
        if (section.Rows.Count > 0)
        {
            text.Append("\n| figure | unit | min | median | p95 | max | n | aim | met |\n|---|---|--:|--:|--:|--:|--:|---|---|\n");
        }

        foreach (var (title, unit, samples, aim) in section.Rows)
        {
            var met = aim is null ? "" : aim.IsMet(samples) ? "yes" : "**no**";
            text.Append(CultureInfo.InvariantCulture, $"| {Cell(title)} | {unit} ");
            foreach (var value in new[] { samples.Min, samples.Median, samples.P95, samples.Max })
            {
                text.Append("| ").Append(Number(value)).Append(' ');
            }

            text.Append(CultureInfo.InvariantCulture, $"| {samples.Count} | {aim} | {met} |\n");
        }

        foreach (var note in section.Notes)
        {
            text.Append(CultureInfo.InvariantCulture, $"\n{note}\n");
        }
    }

    /// <summary>At least three digits that matter, whole numbers in full.</summary>
    private static string Number(double value) => value.ToString(
        Math.Abs(value) switch
        {
            >= 100 => "#,##0",
            >= 10 => "0.0",
            >= 2 => "0.00",
            _ => "0.000",
        },
        CultureInfo.InvariantCulture);

    private static string Cell(string text) => text.Replace("|", "\\|", StringComparison.Ordinal);
}
