using System.Text.Json;

namespace Volant.EndToEnd;

/// <summary>The commands of <c>volar</c> that reach into a guest, in a real VM, as scripts use them.</summary>
public sealed class GuestCommandTests(HelloVm vm) : IClassFixture<HelloVm>, IAsyncLifetime
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public ValueTask InitializeAsync() => new(vm.RequireVmAsync());

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;

    [Fact]
    public async Task Exec_passes_streams_input_environment_and_exit_codes()
    {
        var both = await vm.ShellAsync("volar vms exec -e A=b -e HOME -w /www web sh -c 'echo $A $(pwd); echo oops >&2; exit 7'");
        Assert.Equal((7, "b /www\n", "oops\n"), (both.ExitCode, both.Output, both.Error));

        var piped = await vm.ShellAsync("head -c 3000000 /dev/zero | tr '\\0' x | volar vms exec -i web sh -c 'wc -c; exit 3'; echo $?");
        Assert.Equal("3000000\n3\n", piped.Output);
        Assert.Equal("3000000\n", (await vm.ShellAsync("volar vms exec web sh -c 'head -c 3000000 /dev/zero' | wc -c")).Output);

        // A reader that has had enough ends the command, and nobody complains.
        var cut = await vm.ShellAsync("volar vms exec web yes | head -n 1");
        Assert.Equal(("y\n", string.Empty), (cut.Output, cut.Error));

        Assert.Equal(128 + 9, (await vm.Daemon.VolarAsync("vms", "exec", "web", "sh", "-c", "kill -9 $$")).ExitCode);
        var missing = await vm.Daemon.VolarAsync("vms", "exec", "web", "no-such-thing");
        Assert.Equal(1, missing.ExitCode);
        Assert.Contains("no-such-thing", missing.Error, StringComparison.Ordinal);
        Assert.Equal(4, (await vm.Daemon.VolarAsync("vms", "exec", "--timeout", "300ms", "web", "sleep", "1000")).ExitCode);

        var waited = JsonElement.Parse(await vm.SucceedAsync("vms", "exec", "--output", "json", "web", "echo", "hi"));
        Assert.Equal(("hi\n", 0), (waited.GetProperty("stdout").GetString(), waited.GetProperty("exit_code").GetInt32()));
    }

    [Fact]
    public async Task Exec_passes_an_interrupt_on_and_the_command_ends_in_its_own_way()
    {
        using var running = vm.Start("vms", "exec", "web", "sh", "-c", "trap 'echo caught; exit 9' INT; echo ready; while :; do sleep 1; done");
        await UntilAsync(() => running.Output.Contains("ready", StringComparison.Ordinal), running);
        running.Signal(2);

        var result = await running.WaitAsync(TimeSpan.FromSeconds(30));
        Assert.Equal((9, "ready\ncaught\n"), (result.ExitCode, result.Output));
    }

    [Fact]
    public async Task Cp_carries_trees_with_hard_names_both_ways_unchanged()
    {
        var made = await vm.ShellAsync("""
            mkdir -p tree/'a b'/empty tree/--dash && cd tree && printf x >"-rf" && printf z >'quote"'"'"'$(x)`*' && printf ü >'ünïcödé ☃' &&
            : >nothing && ln -s 'a b/none' link && printf '#!/bin/sh\n' >tool && chmod 0751 tool && head -c 5000000 /dev/urandom >'a b/big' && printf n >"$(printf 'n%.0s' $(seq 255))" && cd .. &&
            volar vms cp tree web:/tmp/tree && volar vms cp web:/tmp/tree back && diff -r --no-dereference tree back && stat -c %a back/tool && readlink back/link && ls -d 'back/a b/empty'
            """);
        Assert.True(made.ExitCode == 0, made.ToString());
        Assert.Equal("751\na b/none\nback/a b/empty\n", made.Output);

        // A line break in a name.
        var broken = await vm.ShellAsync("mkdir lines && printf y >lines/$'new\\nline' && volar vms cp lines web:/tmp/lines && volar vms exec web sh -c 'cat /tmp/lines/new*line'");
        Assert.True(broken is { ExitCode: 0, Output: "y" }, broken.ToString());

        // Into a directory that exists it goes inside, a file over a file, and a tar through a pipe.
        var more = await vm.ShellAsync("""
            printf one >conf && volar vms cp conf web:/tmp && volar vms exec web cat /tmp/conf && printf two >conf && volar vms cp conf web:/tmp/conf && volar vms cp web:/tmp/conf - | tar xO &&
            tar c conf | volar vms cp - web:/tmp/piped && volar vms exec web cat /tmp/piped/conf
            """);
        Assert.True(more.ExitCode == 0, more.ToString());
        Assert.Equal("onetwotwo", more.Output);

        foreach (var (line, word) in new[] { ("volar vms cp web:/no/such/thing .", "/no/such/thing"), ("volar vms cp nothing-here web:/tmp", "nothing-here"), ("volar vms cp conf web:/no/such/dir/", "/no/such/dir"), ("volar vms cp conf nope:/tmp", "nope") })
        {
            var failed = await vm.ShellAsync(line);
            Assert.Equal(1, failed.ExitCode);
            Assert.Contains(word, failed.Error, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task Port_forward_carries_connections_until_it_is_interrupted()
    {
        using var forward = vm.Start("vms", "port-forward", "--output", "json", "web", ":8080");
        await UntilAsync(() => forward.Output.EndsWith('\n'), forward);
        var port = JsonElement.Parse(forward.Output).GetProperty("port").GetInt32();
        using var http = new HttpClient { BaseAddress = new Uri($"http://127.0.0.1:{Workspace.Number(port)}") };
        var pages = await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => http.GetStringAsync("/", Cancel)));
        Assert.All(pages, page => Assert.Contains("Hello from web", page, StringComparison.Ordinal));

        var taken = await vm.Daemon.VolarAsync("vms", "port-forward", "web", $"{Workspace.Number(port)}:8080");
        Assert.Equal(1, taken.ExitCode);
        Assert.Contains("':8080' for any free one", taken.Error, StringComparison.Ordinal);

        forward.Signal(2);
        var result = await forward.WaitAsync(TimeSpan.FromSeconds(30));
        Assert.Equal((130, "Interrupted.\n"), (result.ExitCode, result.Error));
    }

    [Fact]
    public async Task Followed_logs_show_new_lines_clean_and_end_with_an_interrupt()
    {
        using var follow = vm.Start("vms", "logs", "web", "--follow", "--since", "1h", "--stream", "stdout");
        const string Write = "for p in /proc/[0-9]*; do grep -q '[h]ttpd' $p/cmdline && printf 'from the workload\\033[2J\\033]0;title\\007!\\n' >$p/fd/1; done; true";
        await vm.SucceedAsync("vms", "exec", "web", "sh", "-c", Write);
        await UntilAsync(() => follow.Output.Contains("!\n", StringComparison.Ordinal), follow);

        // As timeout(1) does it: to the process, and to its group.
        follow.Signal(15);
        follow.Signal(15);

        var result = await follow.WaitAsync(TimeSpan.FromSeconds(30));
        Assert.Equal((130, "Interrupted.\n"), (result.ExitCode, result.Error));
        Assert.Contains("from the workload!\n", result.Output, StringComparison.Ordinal);
        Assert.DoesNotContain('\x1b', result.Output);
        Assert.Contains("from the workload!\n", await vm.SucceedAsync("vms", "logs", "web", "--since", "1h", "--stream", "stdout"), StringComparison.Ordinal);
        Assert.Empty(await vm.SucceedAsync("vms", "logs", "web", "--since", "2199-01-01T00:00:00Z", "--stream", "stdout"));
    }

    [Fact]
    public async Task Top_operations_call_and_events_tell_of_the_vm()
    {
        var top = JsonElement.Parse(await vm.SucceedAsync("vms", "top", "web", "--once", "--output", "json"))[0];
        Assert.InRange(top.GetProperty("guest").GetProperty("memory").GetProperty("total_bytes").GetInt64(), 64 << 20, 128 << 20);
        Assert.True(top.GetProperty("host_memory_bytes").GetInt64() > 0);

        Assert.Contains("facts", await vm.SucceedAsync("vms", "operations", "web", "--quiet"), StringComparison.Ordinal);
        Assert.Equal("web", JsonElement.Parse(await vm.SucceedAsync("vms", "call", "web", "facts")).GetProperty("hostname").GetString());
        Assert.Contains("volar vms operations web", (await vm.Daemon.VolarAsync("vms", "call", "web", "nope")).Error, StringComparison.Ordinal);

        var events = (await vm.SucceedAsync("events", "--vm", "web", "--output", "json")).TrimEnd('\n').Split('\n').Select(line => JsonElement.Parse(line)).ToArray();
        Assert.Equal("VM_READY", events[^1].GetProperty("type").GetString());
        Assert.Empty(await vm.SucceedAsync("events", "--vm", "web", "--after", events[^1].GetProperty("id").GetString()!));
    }

    [Fact]
    public async Task A_shell_in_the_guest_has_a_real_terminal_and_gives_this_one_back()
    {
        await using var terminal = await Terminal.OpenAsync(("VOLANT_API_BASE", $"unix://{vm.Daemon.Socket}"));
        await terminal.TypeAsync("volar vms exec -it -e PS1='guest> ' web /bin/sh");
        await terminal.UntilAsync("guest>");
        await terminal.TypeAsync("stty size");
        await terminal.UntilAsync("30 100");
        await terminal.ResizeAsync(90, 20);
        await terminal.TypeAsync("clear; stty size");
        await terminal.UntilAsync("20 90");

        // An interrupt ends what runs in the guest, not the shell there and not volar.
        await terminal.TypeAsync("clear; echo wait''ing; sleep 1000; echo ended $?");
        await terminal.UntilAsync("waiting");
        await terminal.PressAsync("C-c");
        await terminal.UntilAsync(screen => screen.TrimEnd().EndsWith("guest>", StringComparison.Ordinal), "the guest's prompt");
        await terminal.TypeAsync("exit 5");
        await terminal.UntilAsync(screen => screen.TrimEnd().EndsWith("ready>", StringComparison.Ordinal), "our prompt");
        await terminal.AssertRestoredAsync(5);
    }

    [Fact]
    public async Task The_console_carries_keys_and_text_raw()
    {
        using var speaker = vm.Start("vms", "exec", "web", "sh", "-c", "exec </dev/ttyS0 >/dev/ttyS0 2>&1; while :; do read -r x && echo \"heard $x\"; done");
        await using var terminal = await Terminal.OpenAsync(("VOLANT_API_BASE", $"unix://{vm.Daemon.Socket}"));
        await terminal.TypeAsync("volar vms console web");
        await terminal.UntilSeenAsync("Ctrl-] leaves"); // What the guest wrote before comes after it.
        await terminal.TypeAsync("one two");
        await terminal.UntilAsync("heard one two");
        await terminal.PressAsync("C-]");
        await terminal.UntilAsync("Left the console of VM 'web'; it goes on.");
        await terminal.AssertRestoredAsync(0);

        // Away from its caller the command ends.
        speaker.Signal(9);
        await speaker.WaitAsync(TimeSpan.FromSeconds(30));
    }

    private static async Task UntilAsync(Func<bool> isThere, Command command)
    {
        var since = TimeProvider.System.GetTimestamp();
        while (!isThere())
        {
            Assert.True(!command.Exit.IsCompleted && TimeProvider.System.GetElapsedTime(since).TotalSeconds < 60, $"{command.Output}\n{command.Error}");
            await Task.Delay(TimeSpan.FromMilliseconds(20), TimeProvider.System, Cancel);
        }
    }
}
