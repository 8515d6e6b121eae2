using System.Text.Json;
using Volant.Cli;
using Volant.Contracts.Api;

namespace Volant.Tests.Cli;

public sealed class ErrorMappingTests
{
    [Theory]
    [InlineData(400, ErrorCodes.InvalidRequest, ExitCodes.Failed, null)]
    [InlineData(401, ErrorCodes.Unauthorized, ExitCodes.Failed, "VOLANT_API_KEY")]
    [InlineData(403, ErrorCodes.Forbidden, ExitCodes.Failed, "VOLANT_API_ALLOW_CIDR")]
    [InlineData(404, ErrorCodes.VmNotFound, ExitCodes.Failed, "volar vms list")]
    [InlineData(404, ErrorCodes.PluginNotFound, ExitCodes.Failed, "volar plugins list")]
    [InlineData(409, ErrorCodes.VmExists, ExitCodes.Failed, "volar vms delete")]
    [InlineData(409, ErrorCodes.PluginInUse, ExitCodes.Failed, "volar vms list --plugin")]
    [InlineData(412, ErrorCodes.VersionConflict, ExitCodes.Failed, null)]
    [InlineData(413, ErrorCodes.TooLarge, ExitCodes.Failed, null)]
    [InlineData(422, ErrorCodes.Unsupported, ExitCodes.Failed, null)]
    [InlineData(500, ErrorCodes.Internal, ExitCodes.Failed, null)]
    [InlineData(503, ErrorCodes.IpPoolExhausted, ExitCodes.Failed, null)]
    [InlineData(504, ErrorCodes.Timeout, ExitCodes.TimedOut, null)]
    [InlineData(418, "a_code_of_tomorrow", ExitCodes.Failed, null)]
    public async Task Every_refusal_has_its_exit_code_one_line_and_a_hint(int status, string code, int exit, string? hint)
    {
        await using var daemon = await FakeDaemon.StartAsync((context, _) => context.ProblemAsync(status, code, "It cannot be done."));

        var result = await TestCli.For(daemon).RunAsync("vms", "get", "web");

        Assert.Equal(exit, result.ExitCode);
        Assert.Empty(result.Output);
        var lines = result.Error.TrimEnd('\n').Split('\n');
        Assert.Equal("Error: It cannot be done.", lines[0]);
        Assert.Equal(hint is null ? 1 : 2, lines.Length);
        if (hint is not null)
        {
            Assert.StartsWith("Hint: ", lines[1], StringComparison.Ordinal);
            Assert.Contains(hint, lines[1], StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task Every_field_error_gets_its_line()
    {
        const string Body = """{"detail":"The request is not valid.","code":"invalid_request","errors":{"name":["must be a DNS label"],"config.resources.cpu_cores":["must be at least 1","must be odd"]}}""";
        await using var daemon = await FakeDaemon.StartAsync((context, _) => context.JsonAsync(400, Body, "application/problem+json"));

        var result = await TestCli.For(daemon).RunAsync("vms", "create", "web", "--plugin", "hello");

        Assert.Equal(
            """
            Error: The request is not valid.
              name: must be a DNS label
              config.resources.cpu_cores: must be at least 1
              config.resources.cpu_cores: must be odd

            """,
            result.Error);
    }

    [Fact]
    public async Task A_field_that_the_sentence_names_is_not_told_twice()
    {
        const string Body = """{"detail":"The request is not valid: since must be a time; tail must be a number.","code":"invalid_request","errors":{"since":["must be a time"],"tail":["must be a number"]}}""";
        await using var daemon = await FakeDaemon.StartAsync((context, _) => context.JsonAsync(400, Body, "application/problem+json"));

        Assert.Equal("Error: The request is not valid: since must be a time; tail must be a number.\n", (await TestCli.For(daemon).RunAsync("vms", "logs", "web")).Error);
    }

    [Fact]
    public async Task With_json_output_the_problem_goes_to_standard_error_as_it_came()
    {
        await using var daemon = await FakeDaemon.StartAsync((context, _) => context.JsonAsync(404, """{"code":"vm_not_found","detail":"No VM 'web'.","trace_id":"t"}""", "application/problem+json"));

        var result = await TestCli.For(daemon).RunAsync("vms", "get", "web", "--output", "json");

        Assert.Equal(ExitCodes.Failed, result.ExitCode);
        Assert.Empty(result.Output);
        Assert.Equal("{\n  \"code\": \"vm_not_found\",\n  \"detail\": \"No VM 'web'.\",\n  \"trace_id\": \"t\"\n}\n", result.Error);
    }

    [Fact]
    public async Task With_json_output_failures_of_our_own_are_problems_too()
    {
        var result = await new TestCli().RunAsync("vms", "list", "-o", "json", "--api", "unix:///nowhere/api.sock");

        Assert.Equal(ExitCodes.Unreachable, result.ExitCode);
        var problem = JsonElement.Parse(result.Error);
        Assert.Equal("unreachable", problem.GetProperty("code").GetString());
        Assert.Contains("unix:///nowhere/api.sock", problem.GetProperty("detail").GetString(), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("text/plain", "upstream \x1b[31mtimed out", "502 (BadGateway): upstream [31mtimed out")]
    [InlineData("text/html", "<html>", "502 (BadGateway) without saying why; is it volantd?")]
    [InlineData("application/json", "[]", "502 (BadGateway) without saying why; is it volantd?")]
    [InlineData("application/problem+json", "{\"errors\":{\"a\":null,\"b\":[null]}}", "502 (BadGateway) without saying why; is it volantd?")]
    public async Task An_error_that_is_no_problem_document_still_gets_one_clean_line(string type, string body, string expected)
    {
        await using var daemon = await FakeDaemon.StartAsync((context, _) => context.JsonAsync(502, body, type));

        var result = await TestCli.For(daemon).RunAsync("vms", "get", "web");

        Assert.Equal(ExitCodes.Failed, result.ExitCode);
        Assert.Contains(expected, result.Error, StringComparison.Ordinal);
        Assert.DoesNotContain('\x1b', result.Error);
    }

    [Fact]
    public async Task Text_of_the_server_cannot_drive_the_terminal()
    {
        await using var daemon = await FakeDaemon.StartAsync((context, _) => context.ProblemAsync(409, "vm_exists", "one\r\ntwo\u001b]0;owned\u0007\u009b31m\u202e"));

        var result = await TestCli.For(daemon).RunAsync("vms", "get", "web");

        Assert.StartsWith("Error: one  two]0;owned31m\n", result.Error, StringComparison.Ordinal);
    }
}
