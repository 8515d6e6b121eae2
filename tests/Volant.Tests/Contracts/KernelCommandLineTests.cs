using System.Net;
using CsCheck;
using Volant.Contracts.Boot;

namespace Volant.Tests.Contracts;

public sealed class KernelCommandLineTests
{
    private static readonly Gen<string> Values = Gen.OneOf(
        Gen.String,
        Gen.OneOf(" ", "\"", "=", "--", "\n", "\t", "\0", "\u0085", "\u00a0", "\u2003", "\u2028", "\u3000", "é", "init=/bin/sh", "'", "\\", "😀").Array[0, 12].Select(string.Concat),
        Gen.Char['\0', '\ud7ff'].Array[0, 2100].Select(chars => new string(chars)));

    [Fact]
    public void What_is_built_is_read_back()
    {
        var words = Gen.Select(Gen.String[Gen.Char['!', '~'], 1, 12].Where(key => !key.Contains('"') && !key.Contains('=') && key != "--"), Gen.String[Gen.Char['!', '~'], 0, 30].Where(value => !value.Contains('"')));

        words.Array[0, 10].Sample(pairs =>
        {
            var line = new KernelCommandLine();
            var expected = new Dictionary<string, string>(StringComparer.Ordinal);
            foreach (var (key, value) in pairs)
            {
                line.Add(key, value);
                expected[key] = value;
            }

            var read = KernelCommandLine.Parse(line.ToString());
            return read.Count == expected.Count && expected.All(pair => read[pair.Key] == pair.Value);
        });
    }

    [Fact]
    public void A_value_can_never_become_another_word() => Values.Sample(
        value =>
        {
            try
            {
                var read = KernelCommandLine.Parse(new KernelCommandLine().Add("first", "1").Add("key", value).Add("last").ToString());
                return read.Count == 3 && read["key"] == value;
            }
            catch (FormatException)
            {
                return value.Any(c => c == '"' || char.IsWhiteSpace(c) || char.IsControl(c)) || value.Length > 600;
            }
        },
        iter: Soak.Times(50_000, 1_000_000));

    [Fact]
    public void A_line_of_2047_bytes_is_the_longest()
    {
        Assert.Equal(2047, new KernelCommandLine().Add(new string('a', 2047)).ToString().Length);
        var failure = Assert.Throws<FormatException>(() => new KernelCommandLine().Add(new string('a', 2048)).ToString());
        Assert.Contains("2048 bytes", failure.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void The_length_is_counted_in_bytes_not_characters() =>
        Assert.Throws<FormatException>(() => new KernelCommandLine().Add(new string('é', 1024)).ToString());

    [Fact]
    public void Parse_honours_quotes_and_stops_at_the_double_dash()
    {
        var read = KernelCommandLine.Parse("quiet root=\"/dev/a b\" key=1 key=2 -- init=/bin/sh\n");

        Assert.Equal("/dev/a b", read["root"]);
        Assert.Equal("2", read["key"]);
        Assert.Equal(string.Empty, read["quiet"]);
        Assert.DoesNotContain("init", read.Keys);
    }

    [Fact]
    public void AddRaw_refuses_an_unclosed_quote_and_control_characters()
    {
        Assert.Throws<FormatException>(() => new KernelCommandLine().AddRaw("a=\"b"));
        Assert.Throws<FormatException>(() => new KernelCommandLine().AddRaw("a\nb"));
    }

    [Fact]
    public void An_ip_argument_is_read_back() =>
        Gen.Select(Gen.UInt, Gen.UInt, Gen.Int[0, 32], Gen.UInt).Sample((address, gateway, prefix, server) =>
        {
            var argument = IpArgument.Static(new IPAddress(address), new IPAddress(gateway), prefix, "web-1", server == 0 || server % 2 == 1 ? null : new IPAddress(server));
            return IpArgument.TryParse(argument.ToString(), out var read) && read == argument;
        });

    [Theory]
    [InlineData("10.0.0.2::10.0.0.1:255.255.0.255:h:eth0:off")]
    [InlineData("10.0.0.2")]
    [InlineData("nonsense::10.0.0.1:255.255.255.0")]
    [InlineData("")]
    [InlineData("::::::")]
    public void An_ip_argument_that_is_none_is_refused(string text) => Assert.False(IpArgument.TryParse(text, out _));
}
