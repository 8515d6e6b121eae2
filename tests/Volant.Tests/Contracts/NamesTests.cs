using System.Text.RegularExpressions;
using CsCheck;
using Volant.Contracts;
using Volant.Contracts.Boot;

namespace Volant.Tests.Contracts;

public sealed partial class NamesTests
{
    private static readonly Gen<string> NearlyNames = Gen.Char["abcz019-_.A é\n\0/%"].Array[0, 70].Select(chars => new string(chars));

    private static readonly Gen<string> Hostile = Gen.OneOf(
        NearlyNames,
        Gen.Char["abcz019-"].Array[1, 66].Select(chars => new string(chars)),
        Gen.String,
        NearlyNames.Select(Uri.EscapeDataString),
        Gen.Char['\u0080', '\uffff'].Array[1, 66].Select(chars => new string(chars)),
        Gen.Select(Gen.Char["abcz019-"].Array[1, 66], Gen.Int[0, 65], Gen.Char['\0', '\uffff']).Select((chars, at, odd) =>
        {
            chars[at % chars.Length] = odd;
            return new string(chars);
        }),
        Gen.Int[64, 100_000].Select(length => new string('a', length)));

    [Fact]
    public void IsDnsLabel_agrees_with_the_grammar_of_the_contract_for_random_text() =>
        Hostile.Sample(name => Names.IsDnsLabel(name) == DnsLabel().IsMatch(name), iter: Soak.Times(100_000, 1_000_000));

    [Fact]
    public void IsPluginName_allows_dot_and_underscore_inside_only() =>
        Hostile.Sample(name => Names.IsPluginName(name) == PluginName().IsMatch(name), iter: Soak.Times(100_000, 1_000_000));

    [Fact]
    public void An_accepted_name_means_the_same_in_a_path_a_URL_and_on_a_kernels_command_line() => Hostile.Sample(
        name =>
        {
            if (!Names.IsPluginName(name))
            {
                return;
            }

            Assert.Equal("/state/plugins", Path.GetDirectoryName(Path.GetFullPath($"/state/plugins/{name}")));
            Assert.Equal($"/api/v1/vms/{name}", new Uri($"http://host/api/v1/vms/{name}").AbsolutePath);
            Assert.Equal(name, KernelCommandLine.Parse(new KernelCommandLine().Add("k", name).ToString())["k"]);
        },
        iter: Soak.Times(20_000, 1_000_000));

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
