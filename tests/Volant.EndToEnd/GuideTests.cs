using System.Text.RegularExpressions;

namespace Volant.EndToEnd;

/// <summary>Every command of <c>docs/guides/volar.md</c>, typed into a real terminal by someone who has nothing but the README's daemon and sample.</summary>
public sealed partial class GuideTests(HelloVm vm) : IClassFixture<HelloVm>
{
    /// <summary>What goes on until it is ended: by a part of its line, what shows that it works, the keys that end it, and the exit code then.</summary>
    private static readonly (string Part, string Shows, string[] Keys, int Code)[] Endless =
    [
        ("list --watch", "running", ["C-c"], 130),
        ("top", "NET OUT", ["C-c"], 130),
        ("logs web --follow", "agent", ["C-c"], 130),
        ("exec -it", "#", ["e", "x", "i", "t", "Enter"], 0),
        ("console", "Ctrl-] leaves", ["C-]"], 0),
        ("port-forward", "127.0.0.1:", ["C-c"], 130),
        ("events --follow", "events", ["C-c"], 130),
    ];

    private static readonly string[] Sections = ["VMs", "Inside a VM", "Configuration and deployments"];

    [Fact]
    public async Task Every_command_of_the_guide_works_as_it_stands_there()
    {
        await using var terminal = await Terminal.OpenAsync(("VOLANT_API_BASE", $"unix://{vm.Daemon.Socket}"));
        await terminal.TypeAsync($"cd {vm.Directory}; clear");
        foreach (var line in (await ReadAsync()).Split('\n', StringSplitOptions.RemoveEmptyEntries))
        {
            await terminal.UntilAsync(screen => screen.Trim() == "ready>", $"an empty screen before '{line}'");
            var (_, shows, keys, code) = Endless.FirstOrDefault(each => line.Contains(each.Part, StringComparison.Ordinal));
            await terminal.TypeAsync(line);
            if (keys is not null)
            {
                await terminal.UntilAsync(shows);
                await terminal.PressAsync(keys);

                // What is typed too early would still go to the guest.
                await terminal.UntilAsync(screen => screen.TrimEnd().EndsWith("ready>", StringComparison.Ordinal), $"the shell after '{line}'");
            }

            await terminal.AssertRestoredAsync(code);
            await terminal.TypeAsync("clear");
        }

        Assert.Empty(await vm.SucceedAsync("vms", "list", "--quiet"));
    }

    /// <summary>The lines of the sections' shell blocks without their comments.</summary>
    private static async Task<string> ReadAsync()
    {
        var guide = await File.ReadAllTextAsync(Path.Combine(Workspace.Root, "docs", "guides", "volar.md"), TestContext.Current.CancellationToken);
        var blocks = Sections.Select(section => Block().Match(guide[guide.IndexOf($"## {section}", StringComparison.Ordinal)..]).Groups["lines"].Value);
        return Comment().Replace(string.Join('\n', blocks), string.Empty);
    }

    [GeneratedRegex("```bash\n(?<lines>.*?)```", RegexOptions.Singleline | RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex Block();

    [GeneratedRegex(" +# .*$", RegexOptions.Multiline | RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex Comment();
}
