using System.Diagnostics.CodeAnalysis;
using System.Security.Cryptography;
using System.Text.Json;
using CsCheck;
using Volant.Cli.Api;
using Volant.Cli.OpenApi;
using Volant.Cli.Output;

namespace Volant.Tests.Cli;

public sealed class FormatTests
{
    private static readonly string[] Odd = ["yes", "null", "~", "1.5", "- a", "a: b", "#x", "", "a\nb", "a/b.c", "0x1f", "\u0085", "\ufeff", "😀"];

    private static readonly Gen<string> Texts = Gen.OneOf(
        Gen.String[Gen.Char.Where(c => !char.IsSurrogate(c)), 0, 12],
        Gen.Int[0, Odd.Length - 1].Select(index => Odd[index]));

    [Fact]
    public void What_is_written_as_yaml_reads_as_the_same() => Gen.Select(Texts, Texts, Gen.Long, Gen.Bool).Array[0, 4].Sample(rows =>
    {
        var json = JsonPrinter.Make(writer =>
        {
            writer.WriteStartObject();
            writer.WriteStartArray("rows");
            foreach (var (name, value, number, flag) in rows)
            {
                writer.WriteStartObject();
                writer.WriteString(name.Length == 0 ? "k" : name, value);
                writer.WriteNumber("!number", number);
                writer.WriteStartArray("!list");
                writer.WriteBooleanValue(flag);
                writer.WriteStartArray();
                writer.WriteNullValue();
                writer.WriteEndArray();
                writer.WriteStartArray();
                writer.WriteEndArray();
                writer.WriteEndArray();
                writer.WriteEndObject();
            }

            writer.WriteEndArray();
            writer.WriteEndObject();
        });
        using var yaml = new StringWriter { NewLine = "\n" };

        YamlWriter.Write(yaml, json);

        Assert.True(JsonElement.DeepEquals(json, YamlReader.Read(yaml.ToString())), yaml.ToString());
    });

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_document_of_any_size_cannot_drive_the_terminal_and_says_the_same(bool asYaml)
    {
        // As much as an answer may hold; a step for each character would take minutes if it moved the rest.
        var text = string.Concat(Enumerable.Repeat("\u202e\u2066x\u007f\u009b", 400_000));
        var json = JsonPrinter.Make(writer => writer.WriteStringValue(text));
        using var printed = new StringWriter { NewLine = "\n" };

        JsonPrinter.Write(printed, json, asYaml ? OutputFormat.Yaml : OutputFormat.Json);

        Assert.DoesNotContain(printed.ToString(), c => c != '\n' && TerminalText.IsHostile(c));
        Assert.Equal(text, JsonElement.Parse(printed.ToString()).GetString());
    }

    [Theory]
    [InlineData("a: &x [1]\nb: *x")]
    [InlineData("a: [")]
    [InlineData("{")]
    [InlineData("")]
    public void Yaml_that_is_none_or_expands_is_refused(string text) => Assert.Throws<FormatException>(() => YamlReader.Read(text));

    [Fact]
    public void Yaml_that_is_too_deep_is_refused() => Assert.Throws<FormatException>(() => YamlReader.Read(new string('[', 500)));

    [Fact]
    [SuppressMessage("Security", "CA5350", Justification = "The handshake of WebSockets is defined with it (RFC 6455, section 4.2.2); it protects nothing.")]
    public void Sha1_agrees_with_the_framework() => Gen.Byte.Array[0, 200].Sample(bytes => Sha1.Hash(bytes).SequenceEqual(SHA1.HashData(bytes)));

    [Fact]
    public void The_handshake_of_the_standard_is_answered_as_in_the_standard() =>
        Assert.Equal("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", WebSocketConnection.AcceptOf("dGhlIHNhbXBsZSBub25jZQ=="));

    [Theory]
    [InlineData("500ms", 500)]
    [InlineData("30s", 30_000)]
    [InlineData("1.5m", 90_000)]
    [InlineData("2h", 7_200_000)]
    [InlineData("7", 7_000)]
    [InlineData("", null)]
    [InlineData("s", null)]
    [InlineData("-1s", null)]
    [InlineData("1d", null)]
    public void Durations_have_units(string text, int? ms) => Assert.Equal(ms, Amounts.ParseDuration(text)?.TotalMilliseconds);

    [Fact]
    public async Task Yaml_is_an_output_like_json()
    {
        await using var daemon = await FakeDaemon.StartAsync(("GET /api/v1/system/status", 200, """{"vm_count":2,"cpu_percent":1.5,"mem_percent":40.25}"""));

        var result = await TestCli.For(daemon).RunAsync("system", "status", "--output", "yaml");

        Assert.Equal("vm_count: 2\ncpu_percent: 1.5\nmem_percent: 40.25\n", result.Output);
        Assert.Contains("code: not_found\n", (await TestCli.For(daemon).RunAsync("vms", "get", "gone", "-o", "yaml")).Error, StringComparison.Ordinal);
    }
}
