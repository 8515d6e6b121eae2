using System.Globalization;

namespace Volant.Cli.Output;

/// <summary>What a table may assume about where it is printed.</summary>
/// <param name="Width">Columns to fit into; null when nothing is cut (not a terminal).</param>
/// <param name="Colour">Whether colour is allowed.</param>
internal sealed record Screen(int? Width, bool Colour)
{
    private const int LeastWidth = 40;

    /// <summary>A file or a pipe: nothing is cut, nothing is coloured.</summary>
    public static Screen Plain { get; } = new(Width: null, Colour: false);

    /// <summary>Standard output as it is; <c>NO_COLOR</c> and <c>TERM=dumb</c> turn colour off.</summary>
    public static Screen Of(CliHost host)
    {
        if (!host.OutputIsTerminal)
        {
            return Plain;
        }

        var colour = string.IsNullOrEmpty(host.Environment("NO_COLOR")) && host.Environment("TERM") != "dumb";
        return new Screen(WidthOf(host), colour);
    }

    /// <summary>Width of the terminal; a terminal that does not know (0) counts as 80 columns.</summary>
    /// <remarks><c>COLUMNS</c> wins, as in other programs.</remarks>
    public static int WidthOf(CliHost host) =>
        int.TryParse(host.Environment("COLUMNS"), NumberStyles.None, CultureInfo.InvariantCulture, out var columns) && columns > 0
            ? Math.Max(columns, LeastWidth)
            : host.TerminalSize() is var (width, _) ? Math.Max(width, LeastWidth) : 80;
}
