using System.Text.RegularExpressions;

namespace Volant.Tests.Documentation;

/// <summary>The table of docs/reliability.md names tests: each must exist.</summary>
public sealed partial class ReliabilityTests
{
    private static readonly string[] Rows = ["C02", "C03", "C05", "C06", "C07", "C08", "C10", "C13", "C18", "C20", "E01", "E03", "E06", "E07", "E08", "E09", "E11", "E14", "S01", "S02", "S04", "S07", "S11", "S13", "S14", "S15", "S16", "S17", "S18", "S21"];

    [Fact]
    public async Task Every_row_names_tests_that_exist()
    {
        var lines = (await Repository.ReadAsync("docs/reliability.md")).Split('\n').Where(line => RowName().IsMatch(line)).ToList();
        Assert.Equal(Rows, lines.Select(line => RowName().Match(line).Groups["row"].Value));
        var tests = await Task.WhenAll(Repository.FilesBelow("tests", "*Tests.cs").Select(async path => (Class: Path.GetFileNameWithoutExtension(path), Text: await Repository.ReadAsync(path))));
        foreach (var line in lines)
        {
            var named = TestName().Matches(line);
            Assert.NotEmpty(named);
            foreach (var (type, method) in named.Select(match => (match.Groups["type"].Value, match.Groups["method"].Value)))
            {
                Assert.True(tests.Any(test => test.Class == type && test.Text.Contains($" {method}(", StringComparison.Ordinal)), $"docs/reliability.md names {type}.{method}, which does not exist");
            }
        }
    }

    [GeneratedRegex(@"^\| (?<row>[A-Z]\d\d) \|", RegexOptions.ExplicitCapture, matchTimeoutMilliseconds: 1000)]
    private static partial Regex RowName();

    [GeneratedRegex(@"`(?<type>\w+Tests)\.(?<method>\w+)`", RegexOptions.ExplicitCapture, matchTimeoutMilliseconds: 1000)]
    private static partial Regex TestName();
}
