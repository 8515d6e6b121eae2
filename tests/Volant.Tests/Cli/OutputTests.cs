using System.Text;
using CsCheck;
using Volant.Cli.Output;

namespace Volant.Tests.Cli;

public sealed class OutputTests
{
    private const string Nasty = "\x1b[]\u009b\u009d\a\\m3;\n\r\txß\u202e\ud83d\ude00\0";

    private static readonly Gen<string> HostileText = Gen.OneOf(
        Gen.String,
        Gen.Int[0, Nasty.Length - 1].Array[0, 40].Select(indexes => string.Concat(indexes.Select(index => Nasty[index]))));

    [Fact]
    public void Clean_lets_no_control_character_through() => HostileText.Sample(text =>
        TerminalText.Clean(text).All(c => !TerminalText.IsHostile(c)));

    [Fact]
    public void Clean_leaves_printable_text_alone()
    {
        Assert.Equal("größe 😀 …", TerminalText.Clean("größe 😀 …"));
        Assert.Equal(string.Empty, TerminalText.Clean(null));
        Assert.Equal("a b", TerminalText.Clean("a\nb"));
        Assert.Equal("\ufffd", TerminalText.Clean("\ud83d"));
    }

    [Fact]
    public void A_log_comes_out_without_control_characters() => HostileText.Sample(text =>
        Filter(Encoding.UTF8.GetBytes(text), int.MaxValue).All(c => c is '\n' or '\t' || !TerminalText.IsHostile(c)));

    [Fact]
    public void A_log_comes_out_the_same_however_it_is_cut() => Gen.Select(HostileText, Gen.Int[1, 5]).Sample((text, size) =>
    {
        var bytes = Encoding.UTF8.GetBytes(text);
        Assert.Equal(Filter(bytes, int.MaxValue), Filter(bytes, size));
    });

    [Fact]
    public void Every_line_of_a_log_survives() => HostileText.Sample(text =>
        Filter(Encoding.UTF8.GetBytes(text), int.MaxValue).Count(c => c == '\n') == text.Count(c => c == '\n'));

    [Theory]
    [InlineData("a\x1b[1;31mb\x1b[0mc", "abc")]
    [InlineData("a\u001b]0;title\u0007b", "ab")]
    [InlineData("a\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\b", "alinkb")]
    [InlineData("a\x1bPq#0\x1b\\b", "ab")]
    [InlineData("a\x1b(Bb", "ab")]
    [InlineData("a\x1b]never closed\nb", "a\nb")]
    [InlineData("a\u009b31mb\u009d0;t\u009cc", "abc")]
    [InlineData("50%\r\n", "50%\n")]
    public void A_log_loses_whole_sequences(string text, string expected) => Assert.Equal(expected, Filter(Encoding.UTF8.GetBytes(text), int.MaxValue));

    [Fact]
    public void An_open_string_in_a_log_hides_only_so_much()
    {
        var text = "\x1b]" + new string('x', LogFilter.MaxString + 1) + "rest";

        Assert.Equal("rest", Filter(Encoding.UTF8.GetBytes(text), int.MaxValue));
    }

    [Fact]
    public void Bytes_that_are_no_text_become_replacement_characters() => Assert.Equal("a\ufffdb", Filter([(byte)'a', 0xff, (byte)'b'], 1));

    [Fact]
    public void Rows_have_the_same_number_of_words_and_no_trailing_space() =>
        Gen.Select(Gen.String[Gen.Char.AlphaNumeric, 0, 12].Array[3].List[0, 6], Gen.Int[0, 60]).Sample((rows, width) =>
        {
            var table = new TextTable("A", "B", "C");
            foreach (var row in rows)
            {
                table.Add([.. row.Select(text => (Cell)text)]);
            }

            var plain = Print(table, Screen.Plain);
            var fitted = Print(table, new Screen(width, Colour: false));

            Assert.Equal(rows.Count + 1, plain.Length);
            Assert.All(plain, line => Assert.Equal(3, line.Split(' ', StringSplitOptions.RemoveEmptyEntries).Length));
            Assert.All(plain.Concat(fitted), line => Assert.Equal(line.TrimEnd(' '), line));

            // Three columns of four and two gaps: narrower than that a table does not become.
            Assert.All(fitted, line => Assert.InRange(line.Length, 0, Math.Max(width, 16)));
        });

    [Fact]
    public void The_widest_column_is_cut_first()
    {
        var table = new TextTable("NAME", "NOTE");
        table.Add("web", "a very long note that does not fit");

        Assert.Equal(["NAME  NOTE", "web   a very long n…"], Print(table, new Screen(20, Colour: false)));
    }

    [Theory]
    [InlineData(-5, "0s")]
    [InlineData(59, "59s")]
    [InlineData(60, "1m")]
    [InlineData(3_599, "59m")]
    [InlineData(3_600, "1h")]
    [InlineData(86_400, "1d")]
    [InlineData(86_400 * 400, "400d")]
    public void Ages_use_their_largest_unit(int seconds, string text) => Assert.Equal(text, Amounts.Age(TimeSpan.FromSeconds(seconds)));

    [Theory]
    [InlineData(0, "0 B")]
    [InlineData(1_023, "1023 B")]
    [InlineData(1_024, "1.0 KiB")]
    [InlineData(3_565_158, "3.4 MiB")]
    [InlineData(long.MaxValue, "8.0 EiB")]
    public void Sizes_use_binary_units(long bytes, string text) => Assert.Equal(text, Amounts.Bytes(bytes));

    private static string Filter(byte[] bytes, int chunk)
    {
        using var writer = new StringWriter();
        var filter = new LogFilter(writer);
        for (var i = 0; i < bytes.Length; i += Math.Min(chunk, bytes.Length))
        {
            filter.Write(bytes.AsSpan(i, Math.Min(chunk, bytes.Length - i)));
        }

        return writer.ToString();
    }

    private static string[] Print(TextTable table, Screen screen)
    {
        using var writer = new StringWriter { NewLine = "\n" };
        table.Write(writer, screen);
        return writer.ToString().TrimEnd('\n').Split('\n');
    }
}
