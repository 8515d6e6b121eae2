using System.Text.RegularExpressions;
using CsCheck;
using Volant.Contracts;

namespace Volant.Tests.Contracts;

public sealed partial class NamesTests
{
    private static readonly Gen<string> NearlyNames = Gen.Char["abcz019-_.A é\n\0/%"].Array[0, 70].Select(chars => new string(chars));

    [Fact]
    public void IsDnsLabel_agrees_with_the_grammar_of_the_contract_for_random_text() =>
        NearlyNames.Sample(name => Names.IsDnsLabel(name) == DnsLabel().IsMatch(name), iter: 100_000);

    [Fact]
    public void IsPluginName_allows_dot_and_underscore_inside_only() =>
        NearlyNames.Sample(name => Names.IsPluginName(name) == PluginName().IsMatch(name), iter: 100_000);

    [Theory]
    [InlineData("a", true)]
    [InlineData("web-1", true)]
    [InlineData("-web", false)]
    [InlineData("web-", false)]
    [InlineData("../etc", false)]
    [InlineData("Web", false)]
    [InlineData("web\n", false)]
    [InlineData("", false)]
    [InlineData(null, false)]
    public void IsDnsLabel_of_known_cases(string? name, bool expected) => Assert.Equal(expected, Names.IsDnsLabel(name));

    [Fact]
    public void IsDnsLabel_ends_at_63_characters()
    {
        Assert.True(Names.IsDnsLabel(new string('a', 63)));
        Assert.False(Names.IsDnsLabel(new string('a', 64)));
    }

    [GeneratedRegex(@"\A[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\z", RegexOptions.CultureInvariant | RegexOptions.ExplicitCapture, matchTimeoutMilliseconds: 1000)]
    private static partial Regex DnsLabel();

    [GeneratedRegex(@"\A[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?\z", RegexOptions.CultureInvariant | RegexOptions.ExplicitCapture, matchTimeoutMilliseconds: 1000)]
    private static partial Regex PluginName();
}
