using System.Net.Sockets;
using System.Net.WebSockets;
using System.Text;
using System.Text.Json;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Time.Testing;
using Volant.Contracts;
using Volant.Contracts.Api;
using Volant.Daemon;
using Volant.Daemon.Hypervisors;
using Volant.Daemon.Logs;
using Volant.Daemon.Orchestration;

namespace Volant.Tests.Api;

public sealed class ConsoleTests : IAsyncLifetime
{
    private ApiFixture _api = null!;
    private VmPaths _paths = null!;
    private Socket _listener = null!;

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        _api = await ApiFixture.StartAsync();
        await _api.InstallAsync();
        var vm = await _api.CreateAsync("web");
        _paths = _api.Services.GetRequiredService<HostResources>().PathsOf(vm.Uid);
        _listener = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        _listener.Bind(new UnixDomainSocketEndPoint(_paths.SerialSocket));
        _listener.Listen();
        await File.WriteAllTextAsync(_paths.ConsoleLog, "boot\r\n", Token);
    }

    public async ValueTask DisposeAsync()
    {
        _listener.Dispose();
        await _api.DisposeAsync();
    }

    [Fact]
    public async Task Several_viewers_see_the_same_and_one_writes_at_a_time()
    {
        using var first = await _api.OpenAsync("/ws/v1/vms/web/console");
        using var guest = await _listener.AcceptAsync(Token);
        Assert.Equal("boot\r\n", await first.UntilAsync("\n"));
        await guest.SendAsync("login: \u001b[0m"u8.ToArray(), Token);
        Assert.Equal("login: \u001b[0m", await first.UntilAsync("[0m"));
        using var second = await _api.OpenAsync("/ws/v1/vms/web/console");
        Assert.Equal("boot\r\nlogin: \u001b[0m", await second.UntilAsync("[0m"));

        await first.SendAsync("ro");
        await first.SendAsync("ot\n", WebSocketMessageType.Binary);
        Assert.Equal("root\n", await ReadAsync(guest, 5));
        await second.SendAsync("me too");
        await second.SendAsync("me too");
        var (type, text) = (await second.NextAsync())!.Value;
        Assert.Equal(WebSocketMessageType.Text, type);
        Assert.Equal(ConsoleNotices.ReadOnly, JsonSerializer.Deserialize(text, ContractsJson.Default.ConsoleNotice)!.Notice);

        await first.CloseAsync(WebSocketCloseStatus.NormalClosure, null, Token);
        await second.SendAsync("x");
        Assert.Equal("x", await ReadAsync(guest, 1));
        await guest.SendAsync("both\n"u8.ToArray(), Token);
        Assert.Equal("both\n", await second.UntilAsync("\n"));
    }

    [Fact]
    public async Task The_daemon_hangs_up_with_the_last_viewer_and_connects_again_for_the_next()
    {
        for (var i = 0; i < 3; i++)
        {
            using var viewer = await _api.OpenAsync("/ws/v1/vms/web/console");
            using var guest = await _listener.AcceptAsync(Token);
            await guest.SendAsync("a\n"u8.ToArray(), Token);
            Assert.Equal("boot\r\na\n", await viewer.UntilAsync("a\n"));
            await viewer.CloseAsync(WebSocketCloseStatus.NormalClosure, null, Token);
            Assert.Equal(0, await guest.ReceiveAsync(new byte[1], Token));
        }
    }

    [Fact]
    public async Task The_end_of_the_VM_is_told_to_every_viewer()
    {
        using var viewer = await _api.OpenAsync("/ws/v1/vms/web/console");
        using (var guest = await _listener.AcceptAsync(Token))
        {
            await viewer.UntilAsync("\n");
        }

        var (type, text) = (await viewer.NextAsync())!.Value;
        Assert.Equal((WebSocketMessageType.Text, ConsoleNotices.Ended), (type, JsonSerializer.Deserialize(text, ContractsJson.Default.ConsoleNotice)!.Notice));
        Assert.Null(await viewer.NextAsync());
        Assert.Equal(WebSocketCloseStatus.NormalClosure, viewer.CloseStatus);
    }

    [Fact]
    public async Task A_viewer_who_does_not_read_is_cut_off_and_the_others_see_everything()
    {
        using var slow = await _api.OpenAsync("/ws/v1/vms/web/console");
        using var guest = await _listener.AcceptAsync(Token);
        using var quick = await _api.OpenAsync("/ws/v1/vms/web/console");
        await quick.UntilAsync("boot\r\n");
        var chunk = new byte[16 * 1024];
        chunk.AsSpan().Fill((byte)'.');
        for (var i = 0; i < 256; i++)
        {
            await guest.SendAsync(chunk, Token);
            for (var seen = 0; seen < chunk.Length;)
            {
                seen += (await quick.NextAsync())!.Value.Text.Length;
            }
        }

        var last = string.Empty;
        try
        {
            while (await slow.NextAsync() is { } next)
            {
                last = next.Type == WebSocketMessageType.Text ? next.Text : last;
            }
        }
        catch (WebSocketException)
        {
            // It was cut off in the middle of a message.
        }

        Assert.NotEqual(WebSocketState.Open, slow.State);
        await guest.SendAsync("on\n"u8.ToArray(), Token);
        Assert.Equal("on\n", await quick.UntilAsync("\n"));
    }

    [Fact]
    public async Task A_guest_that_does_not_read_slows_the_writer_down_and_nobody_else()
    {
        using var writer = await _api.OpenAsync("/ws/v1/vms/web/console");
        using var guest = await _listener.AcceptAsync(Token);
        var typed = new string('k', 512 * 1024);
        var sending = Task.Run(async () =>
        {
            for (var i = 0; i < 8; i++)
            {
                await writer.SendAsync(typed);
            }
        }, Token);
        await guest.SendAsync("out\n"u8.ToArray(), Token);
        Assert.Equal("boot\r\nout\n", await writer.UntilAsync("out\n"));
        using var logs = await _api.SendAsync(HttpMethod.Get, "/api/v1/vms/web");
        Assert.Equal(200, (int)logs.StatusCode);
        Assert.Equal(8 * typed.Length, (await ReadAsync(guest, 8 * typed.Length)).Length);
        await sending;
    }

    [Fact]
    public async Task A_message_beyond_the_limit_closes_the_console()
    {
        using var viewer = await _api.OpenAsync("/ws/v1/vms/web/console");
        using var guest = await _listener.AcceptAsync(Token);
        var draining = Task.Run(async () =>
        {
            var buffer = new byte[64 * 1024];
            while (await guest.ReceiveAsync(buffer, Token) > 0)
            {
            }
        }, Token);
        await viewer.UntilAsync("\n");
        try
        {
            await viewer.SendAsync(new string('x', 2 * 1024 * 1024));
        }
        catch (WebSocketException)
        {
            // The server has already left.
        }

        await draining;
    }

    [Fact]
    public async Task A_stopped_VM_has_no_console_and_one_without_a_socket_says_so()
    {
        _listener.Dispose();
        Assert.Equal(502, await _api.RefusalAsync("/ws/v1/vms/web/console"));
        using var stopped = await _api.SendAsync(HttpMethod.Post, "/api/v1/vms/web/stop?grace_seconds=0");
        Assert.Equal(200, (int)stopped.StatusCode);
        Assert.Equal(409, await _api.RefusalAsync("/ws/v1/vms/web/console"));
    }

    [Fact]
    public async Task The_pen_passes_on_when_its_holder_is_idle()
    {
        var clock = new FakeTimeProvider();
        var consoles = new SerialConsoles(clock);
        using var first = await consoles.JoinAsync(_paths.SerialSocket, _paths.ConsoleLog, Token);
        using var guest = await _listener.AcceptAsync(Token);
        using var second = await consoles.JoinAsync(_paths.SerialSocket, _paths.ConsoleLog, Token);
        await first.WriteAsync("1"u8.ToArray(), Token);
        await second.WriteAsync("2"u8.ToArray(), Token);
        clock.Advance(SerialConsole.PenIdle);
        await second.WriteAsync("3"u8.ToArray(), Token);
        await first.WriteAsync("4"u8.ToArray(), Token);
        Assert.Equal("13", await ReadAsync(guest, 2));
        Assert.Equal([false, true], Frames(first).Select(frame => frame.IsText));
        Assert.Equal([false, true], Frames(second).Select(frame => frame.IsText));
    }

    [Fact]
    public async Task The_number_of_viewers_is_bounded_and_the_backlog_is_the_end()
    {
        await File.WriteAllBytesAsync(_paths.ConsoleLog, [.. new byte[100_000], .. "end"u8], Token);
        var consoles = new SerialConsoles(TimeProvider.System);
        var viewers = new List<SerialViewer>();
        for (var i = 0; i < SerialConsole.MaxViewers; i++)
        {
            viewers.Add(await consoles.JoinAsync(_paths.SerialSocket, _paths.ConsoleLog, Token));
        }

        var refused = await Assert.ThrowsAsync<VolantException>(() => consoles.JoinAsync(_paths.SerialSocket, _paths.ConsoleLog, Token));
        Assert.Equal(ErrorCodes.Unavailable, refused.Code);
        using var guest = await _listener.AcceptAsync(Token);
        for (var i = 0; i < 10; i++)
        {
            await guest.SendAsync(new byte[16 * 1024], Token);
        }

        await guest.SendAsync("\n"u8.ToArray(), Token);
        var seen = Array.Empty<byte>();
        while (seen is not [.., (byte)'\n'])
        {
            Assert.True(await viewers[0].Feed.WaitAsync(Token));
            seen = [.. Frames(viewers[0]).SelectMany(frame => frame.Bytes.ToArray())];
        }

        viewers[5].Dispose();
        using var late = await consoles.JoinAsync(_paths.SerialSocket, _paths.ConsoleLog, Token);
        var backlog = Frames(late).Single().Bytes;
        Assert.Equal(SerialConsole.BacklogBytes, backlog.Length);
        Assert.Equal((byte)'\n', backlog.Span[^1]);
        viewers.ForEach(viewer => viewer.Dispose());
    }

    private static List<ConsoleFrame> Frames(SerialViewer viewer)
    {
        var frames = new List<ConsoleFrame>();
        while (viewer.Feed.TryTake(out var frame))
        {
            frames.Add(frame);
        }

        return frames;
    }

    private static async Task<string> ReadAsync(Socket guest, int count)
    {
        var buffer = new byte[count];
        for (var filled = 0; filled < count;)
        {
            var read = await guest.ReceiveAsync(buffer.AsMemory(filled), Token);
            Assert.NotEqual(0, read);
            filled += read;
        }

        return Encoding.ASCII.GetString(buffer);
    }
}
