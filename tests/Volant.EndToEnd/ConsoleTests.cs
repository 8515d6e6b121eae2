using Volant.Contracts.Api;

namespace Volant.EndToEnd;

/// <summary>The serial console of a real VM in a real terminal.</summary>
public sealed class ConsoleTests(Workspace workspace) : IAsyncLifetime
{
    private readonly TestDaemon _daemon = new();

    public ValueTask InitializeAsync() => new(_daemon.StartAsync());

    [Fact]
    public async Task The_console_shows_what_the_guest_wrote_and_is_left_by_its_key()
    {
        await _daemon.InstallAsync(workspace.ProbeManifest);
        await _daemon.CreateReadyAsync("web");
        await using var terminal = await Terminal.OpenAsync(("VOLANT_API_BASE", $"unix://{_daemon.Socket}"));

        await terminal.TypeAsync("volar vms console web");
        await terminal.UntilAsync("Ctrl-] leaves");
        await terminal.PressAsync("Enter");
        await terminal.PressAsync("C-]");
        await terminal.UntilAsync("Left the console of VM 'web'; it goes on.");
        await terminal.AssertRestoredAsync(0);

        Assert.Equal(VmStatus.Running, (await _daemon.FindAsync("web"))!.Status);
    }

    [Fact]
    public async Task The_console_gives_the_terminal_back_when_the_daemon_is_killed()
    {
        await _daemon.InstallAsync(workspace.ProbeManifest);
        await _daemon.CreateReadyAsync("web");
        await using var terminal = await Terminal.OpenAsync(("VOLANT_API_BASE", $"unix://{_daemon.Socket}"));

        await terminal.TypeAsync("volar vms console web");
        await terminal.UntilAsync("Ctrl-] leaves");
        await _daemon.EndAsync(9);
        await terminal.UntilAsync("broke the connection");
        await terminal.AssertRestoredAsync(3);

        await _daemon.StartAsync();
    }

    public ValueTask DisposeAsync() => _daemon.DisposeAsync();
}
