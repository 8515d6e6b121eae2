using System.Globalization;

namespace Volant.EndToEnd;

/// <summary>A shell in a real terminal, driven by keys and read from its screen (tmux).</summary>
internal sealed class Terminal : IAsyncDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(50);

    private readonly DirectoryInfo _directory = Directory.CreateTempSubdirectory("vt-tmux-");

    private Terminal()
    {
    }

    /// <summary>Opens a terminal of 100 columns and 30 rows, with our programs in its path and the variables set.</summary>
    public static async Task<Terminal> OpenAsync(params (string Name, string Value)[] variables)
    {
        var terminal = new Terminal();
        Leftovers.Add(terminal, () => terminal.DisposeAsync().AsTask());
        string[] environment = [.. variables.Select(variable => $"{variable.Name}={variable.Value}"), $"PATH={Workspace.Programs}:/usr/bin:/bin", "PS1=ready> ", "HOME=/nonexistent", "LC_ALL=C.UTF-8", "TERM=screen"];
        await terminal.TmuxAsync(["-f", "/dev/null", "new-session", "-d", "-x", "100", "-y", "30", "env", "-i", .. environment, "bash", "--norc", "--noprofile"]);
        await terminal.TmuxAsync(["set-option", "-g", "window-size", "manual"]);
        await terminal.UntilAsync("ready>");

        // What the terminal must be like again in the end.
        await terminal.TypeAsync("before=$(stty -g); clear");
        await terminal.UntilAsync(screen => screen.Trim() == "ready>", "an empty screen");
        return terminal;
    }

    /// <summary>Types text and Enter.</summary>
    public async Task TypeAsync(string text)
    {
        await TmuxAsync(["send-keys", "-l", text]);
        await PressAsync("Enter");
    }

    /// <summary>Presses keys by tmux's names: <c>C-c</c>, <c>Tab</c>.</summary>
    public Task PressAsync(params string[] keys) => TmuxAsync(["send-keys", .. keys]);

    /// <summary>Gives the window another size.</summary>
    public Task ResizeAsync(int columns, int rows) =>
        TmuxAsync(["resize-window", "-x", columns.ToString(CultureInfo.InvariantCulture), "-y", rows.ToString(CultureInfo.InvariantCulture)]);

    /// <summary>What is on the screen.</summary>
    public async Task<string> ScreenAsync() => (await TmuxAsync(["capture-pane", "-p"])).Output;

    /// <summary>Waits for a text on the screen and returns all of it.</summary>
    public Task<string> UntilAsync(string text) => UntilAsync(screen => screen.Contains(text, StringComparison.Ordinal), $"'{text}'");

    /// <summary>Waits for a text that has been on the screen, also when what came later pushed it out or cleared the screen.</summary>
    public Task UntilSeenAsync(string text) =>
        UntilAsync(async () => (await TmuxAsync(["capture-pane", "-p", "-S", "-"])).Output, screen => screen.Contains(text, StringComparison.Ordinal), $"'{text}'");

    /// <summary>Waits until the screen is as wanted and returns it.</summary>
    public Task<string> UntilAsync(Func<string, bool> wanted, string what) => UntilAsync(ScreenAsync, wanted, what);

    private static async Task<string> UntilAsync(Func<Task<string>> read, Func<string, bool> wanted, string what)
    {
        var since = TimeProvider.System.GetTimestamp();
        while (true)
        {
            var screen = await read();
            if (wanted(screen))
            {
                return screen;
            }

            Assert.True(TimeProvider.System.GetElapsedTime(since) < Patience, $"The screen does not show {what}:\n{screen}");
            await Task.Delay(Pause, TimeProvider.System, TestContext.Current.CancellationToken);
        }
    }

    /// <summary>Asserts that the shell is back, with this exit code of the last command and the terminal as it was.</summary>
    public async Task AssertRestoredAsync(int code)
    {
        await TypeAsync("echo \"code=$?\" \"mode=$([ \"$before\" = \"$(stty -g)\" ] && echo same || echo changed)\"");
        await UntilAsync($"code={code.ToString(CultureInfo.InvariantCulture)} mode=same");
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        Leftovers.Forget(this);
        await TmuxAsync(["kill-server"]);

        // tmux leaves its socket behind.
        _directory.Delete(recursive: true);
    }

    private async Task<CommandResult> TmuxAsync(IReadOnlyList<string> arguments)
    {
        var result = await Command.RunAsync(["tmux", "-u", "-S", Path.Combine(_directory.FullName, "socket"), .. arguments]);
        Assert.True(result.ExitCode == 0, result.ToString());
        return result;
    }
}
