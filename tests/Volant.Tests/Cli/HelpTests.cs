using Volant.Cli;
using Volant.Cli.Commands;
using Volant.Contracts;

namespace Volant.Tests.Cli;

public sealed class HelpTests
{
    public static TheoryData<string> EveryCommand()
    {
        var paths = new TheoryData<string>();
        Add(CommandTree.Build(Scope(), ["vms plugins deployments volumes system setup"]));
        return paths;

        void Add(System.CommandLine.Command command)
        {
            if (command.Subcommands.Count == 0)
            {
                paths.Add(CommandTree.PathOf(command));
            }

            foreach (var child in command.Subcommands)
            {
                Add(child);
            }
        }
    }

    [Fact]
    public void The_tree_holds_every_command_of_the_contract()
    {
        var paths = EveryCommand().Select(row => row.Data).ToArray();

        var vms = "list get create delete start stop restart scale console logs exec cp port-forward top operations call"
            .Split(' ').Concat(["config get", "config set", "config history"]).Select(verb => $"volar vms {verb}");
        var others = "run,plugins list,plugins show,plugins install,plugins enable,plugins disable,plugins remove,deployments list,deployments create,deployments get,deployments delete,deployments scale,volumes list,volumes create,volumes get,volumes resize,volumes delete,events,system info,system status,system summary,doctor,setup,completion,version"
            .Split(',').Select(verb => $"volar {verb}");
        Assert.Equal(vms.Concat(others).Order(StringComparer.Ordinal), paths.Order(StringComparer.Ordinal));
    }

    [Theory]
    [MemberData(nameof(EveryCommand))]
    public async Task Help_of_every_command_ends_with_examples_that_parse(string path)
    {
        var result = await new TestCli().RunAsync([.. path.Split(' ')[1..], "--help"]);

        Assert.Equal(ExitCodes.Ok, result.ExitCode);
        Assert.Empty(result.Error);
        var examples = result.Output.Split("Examples:\n")[1].Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
        Assert.InRange(examples.Length, 1, 3);
        Assert.All(examples, example => Assert.StartsWith(path, example, StringComparison.Ordinal));
        Assert.All(examples, example =>
        {
            var words = example.Split('|')[0].Split(' ', StringSplitOptions.RemoveEmptyEntries)[1..];
            Assert.Empty(CommandTree.Build(Scope(), words).Parse(words).Errors);
        });
    }

    [Theory]
    [InlineData]
    [InlineData("vms")]
    [InlineData("plugins")]
    public async Task A_noun_alone_prints_help_and_succeeds(params string[] args)
    {
        var result = await new TestCli().RunAsync(args);

        Assert.Equal(ExitCodes.Ok, result.ExitCode);
        Assert.Contains("Commands:", result.Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Help_of_the_program_lists_every_exit_code()
    {
        var result = await new TestCli().RunAsync("--help");

        Assert.All(ExitCodes.Table, row => Assert.Contains($"{row.Code,3}  {row.Meaning}", result.Output, StringComparison.Ordinal));
        Assert.Contains("VOLANT_API_KEY", result.Output, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("volar vms", "vms", "frobnicate")]
    [InlineData("volar vms list", "vms", "list", "--frobnicate")]
    [InlineData("volar vms create", "vms", "create")]
    [InlineData("volar vms get", "vms", "get", "..")]
    [InlineData("volar vms get", "vms", "get", "a/b")]
    [InlineData("volar vms get", "vms", "get", "Web")]
    [InlineData("volar plugins show", "plugins", "show", "..")]
    [InlineData("volar vms create", "vms", "create", "web", "--plugin", "../x")]
    [InlineData("volar vms create", "vms", "create", "web", "--plugin", "p", "--cpu", "0")]
    [InlineData("volar vms create", "vms", "create", "web", "--plugin", "p", "--memory", "much")]
    [InlineData("volar vms stop", "vms", "stop", "web", "--grace", "-1")]
    [InlineData("volar vms list", "vms", "list", "--output", "xml")]
    [InlineData("volar vms list", "vms", "list", "--status", "tired")]
    [InlineData("volar plugins install", "plugins", "install")]
    [InlineData("volar plugins install", "plugins", "install", "a.json", "--manifest", "b.json")]
    public async Task A_wrong_command_line_gets_one_line_and_the_way_to_help(string see, params string[] args)
    {
        var result = await new TestCli().RunAsync(args);

        Assert.Equal(ExitCodes.Usage, result.ExitCode);
        Assert.Empty(result.Output);
        var lines = result.Error.TrimEnd('\n').Split('\n');
        Assert.Equal(2, lines.Length);
        Assert.StartsWith("Error: ", lines[0], StringComparison.Ordinal);
        Assert.Equal($"See '{see} --help'.", lines[1]);
    }

    [Theory]
    [InlineData("vms", "create", "web")]
    [InlineData("vms", "create", "web", "--plugin", "p", "--timeout", "5")]
    [InlineData("vms", "create", "web", "--plugin", "p", "--initramfs-checksum", "00")]
    [InlineData("vms", "list", "--api", "localhost:7777")]
    [InlineData("plugins", "install", "--url", "ftp://host/x")]
    [InlineData("plugins", "install", "/tmp")]
    public async Task Usage_faults_that_the_parser_cannot_see_exit_the_same_way(params string[] args)
    {
        var result = await new TestCli().RunAsync(args);

        Assert.Equal(ExitCodes.Usage, result.ExitCode);
        Assert.Single(result.Error.TrimEnd('\n').Split('\n'));
    }

    [Theory]
    [InlineData("did you mean 'volar vms'", "vm", "list")]
    [InlineData("did you mean 'volar vms list'?", "vms", "lst")]
    [InlineData("did you mean 'volar vms list' or", "vms", "ls")]
    [InlineData("did you mean 'volar plugins remove'?", "plugins", "rm")]
    [InlineData("did you mean 'volar vms delete'?", "vms", "delte", "web")]
    [InlineData("did you mean 'volar vms create'", "create", "web")]
    [InlineData("did you mean 'volar vms exec'?", "exec", "web", "sh")]
    [InlineData("did you mean '--output'?", "vms", "list", "--outptu", "json")]
    [InlineData("did you mean '--memory'", "vms", "create", "web", "--mem", "512")]
    [InlineData("'volar vms' has no command 'frobnicate'.", "vms", "frobnicate")]
    [InlineData("'volar vms list' takes no further argument 'web'.", "vms", "list", "web")]
    [InlineData("has no option '--frobnicate'.", "vms", "list", "--frobnicate")]
    public async Task An_unknown_word_gets_the_nearest_one(string expected, params string[] args)
    {
        var result = await new TestCli().RunAsync(args);

        Assert.Equal(ExitCodes.Usage, result.ExitCode);
        Assert.Contains(expected, result.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_long_unknown_word_costs_nothing()
    {
        var result = await new TestCli().RunAsync("vms", new string('l', 100_000));

        Assert.Equal(ExitCodes.Usage, result.ExitCode);
    }

    [Fact]
    public async Task A_wrong_command_line_is_a_problem_where_json_was_asked_for()
    {
        var result = await new TestCli().RunAsync("vms", "lst", "--output", "json");

        Assert.Equal(ExitCodes.Usage, result.ExitCode);
        var problem = System.Text.Json.JsonElement.Parse(result.Error);
        Assert.Equal("usage", problem.GetProperty("code").GetString());
        Assert.Contains("See 'volar vms --help'", problem.GetProperty("detail").GetString(), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("vms", "exec", "web", "--output", "json", "uname")]
    [InlineData("vms", "exec", "web", "-it", "sh")]
    public async Task An_option_behind_the_name_of_exec_is_no_command(params string[] args)
    {
        var result = await new TestCli().RunAsync(args);

        Assert.Equal(ExitCodes.Usage, result.ExitCode);
        Assert.Contains("go before the VM's name", result.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_command_of_exec_that_starts_with_a_dash_goes_behind_two() =>
        Assert.Equal(ExitCodes.Unreachable, (await new TestCli().RunAsync("vms", "exec", "--api", "unix:///nonexistent/api.sock", "web", "--", "-x")).ExitCode);

    [Fact]
    public async Task Text_of_the_user_cannot_drive_the_terminal()
    {
        var result = await new TestCli().RunAsync("vms", "get", "\x1b[2Jweb");

        Assert.DoesNotContain('\x1b', result.Error);
    }

    [Fact]
    public async Task A_word_that_starts_with_an_at_sign_reads_no_file()
    {
        var directory = Directory.CreateTempSubdirectory("volar");
        var file = Path.Combine(directory.FullName, "args");
        await File.WriteAllTextAsync(file, "list --help", TestContext.Current.CancellationToken);

        var result = await new TestCli().RunAsync("vms", $"@{file}");

        directory.Delete(recursive: true);
        Assert.Equal(ExitCodes.Usage, result.ExitCode);
    }

    [Fact]
    public async Task Version_asks_nobody()
    {
        var cli = new TestCli { Environment = { ["VOLANT_API_BASE"] = "this is no address" } };

        var text = await cli.RunAsync("version");
        var json = await cli.RunAsync("version", "--output", "json");
        var option = await cli.RunAsync("--version");

        Assert.Equal($"volar {ProductVersion.Text}\n", text.Output);
        Assert.Equal($"{{\n  \"version\": \"{ProductVersion.Text}\"\n}}\n", json.Output);
        Assert.Equal(text, option);
        Assert.Equal(ProductVersion.Text, typeof(ProductVersion).Assembly.GetName().Version!.ToString(3));
    }

    private static CommandScope Scope() => new(
        new CliHost
        {
            Output = Stream.Null,
            Error = Stream.Null,
            OutputIsTerminal = false,
            ErrorIsTerminal = false,
            TerminalSize = () => null,
            OpenInput = () => Stream.Null,
            InputIsTerminal = false,
            EnterRawMode = () => Stream.Null,
            WatchSize = _ => Stream.Null,
            Environment = _ => null,
            WorkingDirectory = "/",
            Clock = TimeProvider.System,
            CatchInterrupts = () => { },
        },
        TextWriter.Null,
        TextWriter.Null);
}
