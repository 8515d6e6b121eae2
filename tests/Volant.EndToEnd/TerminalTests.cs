using System.Net.WebSockets;
using System.Text;
using System.Text.Json;
using Microsoft.AspNetCore.Http;
using Volant.Contracts;
using Volant.Contracts.Api;
using Volant.Tests.Cli;

namespace Volant.EndToEnd;

/// <summary>volar as a person uses it: keys go in, and what counts is on the screen. The daemon is a stand-in, no VM is needed.</summary>
public sealed class TerminalTests
{
    [Fact]
    public async Task Exec_passes_every_key_follows_the_size_and_gives_the_terminal_back()
    {
        await using var daemon = await FakeDaemon.StartAsync(ServeShellAsync);
        await using var terminal = await Terminal.OpenAsync(("VOLANT_API_BASE", daemon.Address));

        await terminal.TypeAsync("volar vms exec -it web sh");
        await terminal.UntilAsync("100x30 guest$");
        await terminal.PressAsync("a", "C-c", "C-z", "b");
        await terminal.UntilAsync("guest$ a<3><26>b");
        await terminal.ResizeAsync(90, 20);
        await terminal.UntilAsync("<90x20>");
        await terminal.PressAsync("q");

        await terminal.AssertRestoredAsync(5);
    }

    [Theory]
    [InlineData("kill", 130, "Interrupted.")]
    [InlineData("abort", 3, "broke the connection")]
    public async Task Exec_gives_the_terminal_back_when_it_is_killed_or_the_daemon_dies(string end, int code, string message)
    {
        await using var daemon = await FakeDaemon.StartAsync(ServeShellAsync);
        await using var terminal = await Terminal.OpenAsync(("VOLANT_API_BASE", daemon.Address));

        // A subshell with a known parent: its only child is volar.
        await terminal.TypeAsync("echo pid=$$; volar vms exec -it web sh");
        var screen = await terminal.UntilAsync("guest$");
        if (end == "kill")
        {
            var shell = screen.Split("pid=")[^1].Split('\n')[0].Trim();
            var killed = await Command.RunAsync(["sh", "-c", $"kill -TERM $(cat /proc/{shell}/task/{shell}/children)"]);
            Assert.True(killed.ExitCode == 0, killed.ToString());
        }
        else
        {
            await terminal.PressAsync("x");
        }

        await terminal.UntilAsync(message);
        await terminal.AssertRestoredAsync(code);
    }

    [Fact]
    public async Task A_copy_is_interrupted_and_leaves_no_half_file()
    {
        var gone = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        await using var daemon = await FakeDaemon.StartAsync(async (context, seen) =>
        {
            if (seen.Target.Contains("/stat", StringComparison.Ordinal))
            {
                await context.ProblemAsync(404, ErrorCodes.FileNotFound, "Nothing is there.");
                return;
            }

            context.Response.ContentType = "application/octet-stream";
            context.Response.ContentLength = 100_000_000;
            await context.Response.Body.WriteAsync(new byte[5_000_000], context.RequestAborted);
            await context.Response.Body.FlushAsync(context.RequestAborted);
            await Task.Delay(Timeout.InfiniteTimeSpan, TimeProvider.System, context.RequestAborted).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            gone.TrySetResult();
        });
        await using var terminal = await Terminal.OpenAsync(("VOLANT_API_BASE", daemon.Address));
        var directory = Directory.CreateTempSubdirectory("vt-copy-");
        try
        {
            await terminal.TypeAsync($"volar vms cp web:/big {directory.FullName}/");
            await terminal.UntilAsync("iB");
            await terminal.PressAsync("C-c");

            await terminal.UntilAsync("Interrupted.");
            await terminal.AssertRestoredAsync(130);
            await gone.Task.WaitAsync(TestContext.Current.CancellationToken);
            Assert.Empty(directory.GetFileSystemInfos());
        }
        finally
        {
            directory.Delete(recursive: true);
        }
    }

    [Fact]
    public async Task A_watched_list_is_redrawn_in_place()
    {
        var status = VmStatus.Starting;
        await using var daemon = await FakeDaemon.StartAsync((context, _) => context.JsonAsync(200, $"[{FakeAnswers.Vm("web", status, ready: status == VmStatus.Running)}]"));
        await using var terminal = await Terminal.OpenAsync(("VOLANT_API_BASE", daemon.Address));

        await terminal.TypeAsync("volar vms list --watch");
        await terminal.UntilAsync("web   starting");
        status = VmStatus.Running;
        var screen = await terminal.UntilAsync("web   running");
        await terminal.PressAsync("C-c");

        Assert.Single(screen.Split('\n'), line => line.StartsWith("NAME", StringComparison.Ordinal));
        Assert.DoesNotContain("starting", screen, StringComparison.Ordinal);
        await terminal.UntilAsync("Interrupted.");
        await terminal.AssertRestoredAsync(130);
    }

    [Theory]
    [InlineData("bash", "bash --norc --noprofile", "source <(volar completion bash)")]
    [InlineData("zsh", "zsh -f", "autoload -U compinit; compinit -D; source <(volar completion zsh)")]
    [InlineData("fish", "fish --no-config", "volar completion fish | source")]
    public async Task A_shell_completes_commands_options_and_names_and_files_where_nothing_else_fits(string shell, string start, string load)
    {
        Assert.SkipUnless(File.Exists($"/usr/bin/{shell}"), $"needs {shell} (scripts/deps.sh test)");
        await using var daemon = await FakeDaemon.StartAsync((context, _) => context.JsonAsync(200, $"[{FakeAnswers.Vm("gateway")}]"));
        await using var terminal = await Terminal.OpenAsync(("VOLANT_API_BASE", daemon.Address));
        await terminal.TypeAsync(start);
        await terminal.TypeAsync($"{load}; cd {Path.Combine(Workspace.Root, "samples")}; clear; echo loa''ded");
        await terminal.UntilAsync("loaded");

        // Behind another command, as the line and the words of this one are not the same there.
        await TypeKeysAsync(terminal, "true; volar vm", "true; volar vms ");
        await TypeKeysAsync(terminal, "res", "volar vms restart ");
        await TypeKeysAsync(terminal, "ga", "volar vms restart gateway ");
        await TypeKeysAsync(terminal, "--w", "true; volar vms restart gateway --wait");
        await terminal.PressAsync("C-u");
        await TypeKeysAsync(terminal, "volar plugins install hel", "volar plugins install hello/");
    }

    [Fact]
    public async Task A_log_of_a_hostile_guest_is_only_text_and_a_table_fits()
    {
        await using var daemon = await FakeDaemon.StartAsync((context, seen) => seen.Target.Contains("/logs", StringComparison.Ordinal)
            ? LogAsync(context)
            : context.JsonAsync(200, $"[{FakeAnswers.Vm("web", plugin: new string('p', 63))}]"));
        await using var terminal = await Terminal.OpenAsync(("VOLANT_API_BASE", daemon.Address));

        await terminal.TypeAsync("volar vms logs web");
        await terminal.UntilAsync("before after");
        await terminal.ResizeAsync(60, 20);
        await terminal.TypeAsync("clear; volar vms list");
        var screen = await terminal.UntilAsync("…");

        Assert.Single(screen.Split('\n'), line => line.StartsWith("web ", StringComparison.Ordinal) && line.Length <= 60);
    }

    private static async Task TypeKeysAsync(Terminal terminal, string text, string shows)
    {
        await terminal.PressAsync([.. text.Select(key => key switch { ' ' => "Space", ';' => @"\;", _ => key.ToString() })]);
        await terminal.PressAsync("Tab");
        await terminal.UntilAsync(shows.TrimEnd());
    }

    private static async Task LogAsync(HttpContext context)
    {
        context.Response.ContentType = "text/event-stream";
        await context.Response.WriteAsync("""data: {"stream":"stdout","line":"before \u001b[2J\u001b[?1049hafter","timestamp":"2026-03-01T12:00:00Z"}""" + "\n\n", context.RequestAborted);
    }

    /// <summary>A guest's shell in small: prints its size, echoes keys, shows control keys as numbers; q ends it, x breaks the connection.</summary>
    private static async Task ServeShellAsync(HttpContext context, SeenRequest seen)
    {
        using var socket = await context.WebSockets.AcceptWebSocketAsync();
        var (request, _) = await ReceiveAsync(socket);
        var asked = JsonSerializer.Deserialize(request, ContractsJson.Default.ExecRequest)!;
        await PrintAsync(socket, $"{asked.Cols}x{asked.Rows} guest$ ");
        while (true)
        {
            var (bytes, isText) = await ReceiveAsync(socket);
            if (bytes.Length == 0)
            {
                return;
            }

            if (isText)
            {
                var size = JsonSerializer.Deserialize(bytes, ContractsJson.Default.ExecControl)!.Resize!;
                await PrintAsync(socket, $"<{size.Cols}x{size.Rows}>");
                continue;
            }

            foreach (var key in bytes[1..])
            {
                switch (key)
                {
                    case (byte)'x':
                        context.Abort();
                        return;
                    case (byte)'q':
                        await PrintAsync(socket, "\r\n");
                        await socket.SendAsync("""{"exit_code":5}"""u8.ToArray(), WebSocketMessageType.Text, endOfMessage: true, context.RequestAborted);
                        await socket.CloseOutputAsync(WebSocketCloseStatus.NormalClosure, string.Empty, context.RequestAborted);
                        return;
                    default:
                        await PrintAsync(socket, key < ' ' ? $"<{Workspace.Number(key)}>" : ((char)key).ToString());
                        break;
                }
            }
        }
    }

    private static Task PrintAsync(WebSocket socket, string text) =>
        socket.SendAsync(new byte[] { ExecChannels.Stdout }.Concat(Encoding.UTF8.GetBytes(text)).ToArray(), WebSocketMessageType.Binary, endOfMessage: true, CancellationToken.None);

    private static async Task<(byte[] Bytes, bool IsText)> ReceiveAsync(WebSocket socket)
    {
        var buffer = new byte[64 * 1024];
        var received = await socket.ReceiveAsync(buffer.AsMemory(), CancellationToken.None);
        return (buffer[..received.Count], received.MessageType == WebSocketMessageType.Text);
    }
}
