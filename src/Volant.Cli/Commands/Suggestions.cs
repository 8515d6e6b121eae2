using System.CommandLine;

namespace Volant.Cli.Commands;

/// <summary>Guesses what was meant by a word that is none of ours.</summary>
internal static class Suggestions
{
    private const int Most = 3;

    /// <summary>What may have been meant, best first, as it is to be typed; at most three, often none.</summary>
    /// <param name="parsed">The command line up to the word.</param>
    /// <param name="word">The word.</param>
    /// <param name="whole">The tree with every verb, built only when needed.</param>
    public static IReadOnlyList<string> For(ParseResult parsed, string word, Func<RootCommand> whole)
    {
        var command = parsed.CommandResult.Command;
        if (word.StartsWith('-'))
        {
            return Nearest(word, Symbols.OptionsOf(parsed).Where(option => !option.Hidden || command is RootCommand).Select(option => option.Name));
        }

        if (command.Subcommands.Count == 0)
        {
            return [];
        }

        var near = Nearest(word, command.Subcommands.Select(each => each.Name));
        if (near.Count > 0 || command is not RootCommand)
        {
            return [.. near.Select(name => $"{CommandTree.PathOf(command)} {name}")];
        }

        // A verb without its noun.
        return [.. whole().Subcommands.SelectMany(noun => noun.Subcommands).Where(verb => Nearest(word, [verb.Name]).Count > 0).Take(Most).Select(CommandTree.PathOf)];
    }

    /// <summary>Names that a word may be a misspelling or an abbreviation of, best first.</summary>
    public static IReadOnlyList<string> Nearest(string word, IEnumerable<string> names) =>
        [.. names.Select(name => (Name: name, Distance: Distance(word, name)))
            .Where(each => each.Distance <= 1 + (word.Length / 4) || Abbreviates(word, each.Name))
            .OrderByDescending(each => each.Name.StartsWith(word, StringComparison.Ordinal)).ThenBy(each => each.Distance).ThenBy(each => each.Name, StringComparer.Ordinal).Select(each => each.Name).Take(Most)];

    /// <summary>Whether the letters of a word stand in a name, in this order, the first at its start: <c>ls</c> in <c>list</c>.</summary>
    private static bool Abbreviates(string word, string name)
    {
        if (word.Length < 2 || word[0] != name[0])
        {
            return false;
        }

        var at = 0;
        foreach (var letter in name)
        {
            at += at < word.Length && word[at] == letter ? 1 : 0;
        }

        return at == word.Length;
    }

    /// <summary>Letters to insert, leave out, change or swap with their neighbour (optimal string alignment).</summary>
    private static int Distance(string a, string b)
    {
        if (a.Length > b.Length + Most || b.Length > a.Length + Most)
        {
            // Not near; and a word from outside may be long.
            return int.MaxValue;
        }

        var rows = new int[a.Length + 1, b.Length + 1];
        for (var i = 0; i <= a.Length; i++)
        {
            for (var j = 0; j <= b.Length; j++)
            {
                rows[i, j] = i == 0 || j == 0
                    ? i + j
                    : Math.Min(Math.Min(rows[i - 1, j], rows[i, j - 1]) + 1, rows[i - 1, j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1));
                if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                {
                    rows[i, j] = Math.Min(rows[i, j], rows[i - 2, j - 2] + 1);
                }
            }
        }

        return rows[a.Length, b.Length];
    }
}
