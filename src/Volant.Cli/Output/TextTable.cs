using System.Text;

namespace Volant.Cli.Output;

/// <summary>Colour of a cell, as its SGR parameter; 0 is none.</summary>
internal enum Paint
{
    /// <summary>The terminal's own.</summary>
    None = 0,

    /// <summary>Failed.</summary>
    Red = 31,

    /// <summary>Well.</summary>
    Green = 32,

    /// <summary>On its way.</summary>
    Yellow = 33,
}

/// <summary>One cell; its text is cleaned, and an empty one becomes <c>-</c> so that every row has the same number of words.</summary>
internal readonly record struct Cell(string Text, Paint Paint = Paint.None)
{
    public static implicit operator Cell(string? text) => new(text ?? string.Empty);
}

/// <summary>Left-aligned columns, two spaces apart, no trailing space.</summary>
internal sealed class TextTable
{
    private const int Gap = 2;
    private const int LeastColumn = 4;

    private readonly List<Cell[]> _rows = [];
    private readonly bool _headed;

    /// <summary>A table with a line of headers.</summary>
    public TextTable(params string[] headers)
    {
        _headed = headers.Length > 0;
        if (_headed)
        {
            _rows.Add([.. headers.Select(header => new Cell(header))]);
        }
    }

    /// <summary>Adds a row; every row has the same number of cells.</summary>
    public void Add(params Cell[] cells) =>
        _rows.Add([.. cells.Select(cell => cell with { Text = TerminalText.Clean(cell.Text) is { Length: > 0 } text ? text : "-" })]);

    /// <summary>Prints the table; on a terminal the widest columns are cut with <c>…</c> until a row fits.</summary>
    /// <param name="writer">Where to.</param>
    /// <param name="screen">What it must fit.</param>
    /// <param name="withHeader">Whether the line of headers is printed, or only counts for the widths.</param>
    public void Write(TextWriter writer, Screen screen, bool withHeader = true)
    {
        if (_rows.Count == 0)
        {
            return;
        }

        var widths = Fit(screen.Width);
        for (var row = _headed && !withHeader ? 1 : 0; row < _rows.Count; row++)
        {
            for (var column = 0; column < widths.Length; column++)
            {
                var cell = _rows[row][column];
                var text = Cut(cell.Text, widths[column]);
                var painted = screen.Colour && cell.Paint != Paint.None && (row > 0 || !_headed);
                writer.Write(painted ? $"\x1b[{(int)cell.Paint}m{text}\x1b[0m" : text);
                if (column < widths.Length - 1)
                {
                    writer.Write(new string(' ', widths[column] - Columns(text) + Gap));
                }
            }

            writer.WriteLine();
        }
    }

    private int[] Fit(int? limit)
    {
        var widths = new int[_rows[0].Length];
        foreach (var row in _rows)
        {
            for (var column = 0; column < widths.Length; column++)
            {
                widths[column] = Math.Max(widths[column], Columns(row[column].Text));
            }
        }

        while (limit is { } most && widths.Sum() + (Gap * (widths.Length - 1)) > most)
        {
            var widest = Array.IndexOf(widths, widths.Max());
            if (widths[widest] <= LeastColumn)
            {
                break;
            }

            widths[widest]--;
        }

        return widths;
    }

    private static int Columns(string text) => text.EnumerateRunes().Count();

    private static string Cut(string text, int width)
    {
        if (Columns(text) <= width)
        {
            return text;
        }

        var kept = new StringBuilder(width);
        foreach (var rune in text.EnumerateRunes().Take(width - 1))
        {
            kept.Append(rune);
        }

        return kept.Append('…').ToString();
    }
}
