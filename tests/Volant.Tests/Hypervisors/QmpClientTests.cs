using System.Collections.Concurrent;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using Microsoft.Extensions.Time.Testing;
using Volant.Daemon.Hypervisors.Qemu;

namespace Volant.Tests.Hypervisors;

public sealed class QmpClientTests
{
    private const string Greeting = """{"QMP": {"version": {"qemu": {"major": 7}}, "capabilities": ["oob"]}}""" + "\r\n";

    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(5);

    private readonly ConcurrentQueue<string> _events = new();
    private readonly FakeTimeProvider _clock = new();

    private static CancellationToken Cancelled => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Open_waits_for_the_greeting_and_negotiates()
    {
        await using var qemu = await Script.StartAsync(this, Greeting);

        Assert.Equal("""{"execute":"qmp_capabilities","id":1}""", qemu.First);
        Assert.False(qemu.Client.Closed.IsCompleted);
    }

    [Fact]
    public async Task Execute_matches_replies_by_id_and_hands_on_the_events_between()
    {
        await using var qemu = await Script.StartAsync(this, Greeting);

        var stop = qemu.Client.ExecuteAsync("stop", Cancelled);
        Assert.Equal("""{"execute":"stop","id":2}""", await qemu.ReadAsync());
        var status = qemu.Client.ExecuteAsync("query-status", Cancelled);
        Assert.Equal("""{"execute":"query-status","id":3}""", await qemu.ReadAsync());
        await qemu.WriteAsync("""
            {"timestamp": {"seconds": 1, "microseconds": 2}, "event": "STOP"}
            {"return": {"status": "paused"}, "id": 3}
            {"return": {}, "id": 99}
            {"return": {}, "id": 2}
            {"event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-shutdown"}}

            """);

        Assert.Equal("paused", (await status).GetProperty("status").GetString());
        Assert.Equal(JsonValueKind.Object, (await stop).ValueKind);
        await qemu.RoundTripAsync();
        Assert.Equal(["STOP", "SHUTDOWN guest-shutdown"], _events);
    }

    [Fact]
    public async Task Execute_reports_a_refusal_in_the_hypervisors_words()
    {
        await using var qemu = await Script.StartAsync(this, Greeting);

        var cont = qemu.Client.ExecuteAsync("cont", Cancelled);
        await qemu.ReadAsync();
        await qemu.WriteAsync("""{"id": 2, "error": {"class": "GenericError", "desc": "Resetting the Virtual Machine is required"}}""" + "\r\n");

        var refusal = await Assert.ThrowsAsync<QmpException>(() => cont);
        Assert.Contains("Resetting the Virtual Machine is required (GenericError)", refusal.Message, StringComparison.Ordinal);
        await qemu.RoundTripAsync();
    }

    [Fact]
    public async Task Execute_gives_up_after_the_limit_and_ignores_the_late_reply()
    {
        await using var qemu = await Script.StartAsync(this, Greeting);

        var stop = qemu.Client.ExecuteAsync("stop", Cancelled);
        await qemu.ReadAsync();
        _clock.Advance(Limit);

        Assert.Contains("'stop' within 5 s", (await Assert.ThrowsAsync<QmpException>(() => stop)).Message, StringComparison.Ordinal);
        await qemu.WriteAsync("""{"return": {}, "id": 2}""" + "\n");
        await qemu.RoundTripAsync();
    }

    [Fact]
    public async Task Execute_fails_when_the_connection_ends_before_the_reply()
    {
        await using var qemu = await Script.StartAsync(this, Greeting);

        var stop = qemu.Client.ExecuteAsync("stop", Cancelled);
        await qemu.ReadAsync();
        await qemu.HangUpAsync();

        await Assert.ThrowsAsync<QmpException>(() => stop);
        await qemu.Client.Closed.WaitAsync(Cancelled);
        await Assert.ThrowsAsync<QmpException>(() => qemu.Client.ExecuteAsync("cont", Cancelled));
    }

    [Theory]
    [InlineData("not json at all\n")]
    [InlineData("{\"return\": {}, \"id\": \"text\"}\n")]
    [InlineData("[]\n")]
    public async Task A_message_that_is_not_QMP_ends_the_session(string garbage)
    {
        await using var qemu = await Script.StartAsync(this, Greeting);

        await qemu.WriteAsync(garbage);

        await qemu.Client.Closed.WaitAsync(Cancelled);
        var refusal = await Assert.ThrowsAsync<QmpException>(() => qemu.Client.ExecuteAsync("stop", Cancelled));
        Assert.Contains("not QMP", refusal.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_message_without_end_is_read_up_to_the_limit_only()
    {
        await using var qemu = await Script.StartAsync(this, Greeting);

        // The client hangs up in the middle: the writer sees that as a broken pipe.
        await Assert.ThrowsAnyAsync<IOException>(() => qemu.WriteAsync(new string('x', 32 * QmpClient.MaxMessageBytes)));

        await qemu.Client.Closed.WaitAsync(Cancelled);
    }

    [Fact]
    public async Task Messages_up_to_the_limit_are_read()
    {
        await using var qemu = await Script.StartAsync(this, Greeting);
        var text = new string('x', QmpClient.MaxMessageBytes - 40);

        await qemu.WriteAsync("{\"event\": \"E\", \"data\": {\"reason\": \"" + text + "\"}}\n");

        await qemu.RoundTripAsync();
        Assert.Equal([$"E {text}"], _events);
    }

    [Theory]
    [InlineData("")]
    [InlineData("{\"return\": {}}\n")]
    [InlineData("SSH-2.0-OpenSSH\n")]
    public async Task Open_refuses_another_protocol(string opening)
    {
        var (near, far) = await SocketPair.CreateAsync();
        await far.WriteAsync(Encoding.UTF8.GetBytes(opening), Cancelled);
        await far.DisposeAsync();

        await Assert.ThrowsAsync<QmpException>(() => QmpClient.OpenAsync(near, _ => { }, _clock, Limit, Cancelled));
        Assert.False(near.CanRead);
    }

    [Fact]
    public async Task Open_can_be_cancelled_while_another_session_holds_the_socket()
    {
        var (near, far) = await SocketPair.CreateAsync();
        await using var silent = far;
        using var cancel = CancellationTokenSource.CreateLinkedTokenSource(Cancelled);

        var open = QmpClient.OpenAsync(near, _ => { }, _clock, Limit, cancel.Token);
        await cancel.CancelAsync();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => open);
        Assert.Equal(0, await far.ReadAsync(new byte[1], Cancelled));
    }

    /// <summary>A scripted QEMU with the client connected to it.</summary>
    private sealed class Script(NetworkStream stream, StreamReader reader) : IAsyncDisposable
    {
        public required QmpClient Client { get; init; }

        public required string? First { get; init; }

        public static async Task<Script> StartAsync(QmpClientTests test, string greeting)
        {
            var (near, far) = await SocketPair.CreateAsync();
            var reader = new StreamReader(far);
            var open = QmpClient.OpenAsync(near, test.Note, test._clock, Limit, Cancelled);
            await far.WriteAsync(Encoding.UTF8.GetBytes(greeting), Cancelled);
            var first = await reader.ReadLineAsync(Cancelled);
            await far.WriteAsync("{\"return\": {}, \"id\": 1}\r\n"u8.ToArray(), Cancelled);
            return new Script(far, reader) { Client = await open, First = first };
        }

        public async Task<string?> ReadAsync() => await reader.ReadLineAsync(Cancelled);

        public async Task WriteAsync(string text) => await stream.WriteAsync(Encoding.UTF8.GetBytes(text), Cancelled);

        public async Task HangUpAsync() => await stream.DisposeAsync();

        /// <summary>One command and its reply: all that was written before has been handled then.</summary>
        public async Task RoundTripAsync()
        {
            var reply = Client.ExecuteAsync("query-version", Cancelled);
            var id = JsonDocument.Parse((await ReadAsync())!).RootElement.GetProperty("id").GetInt64();
            await WriteAsync($$"""{"return": {}, "id": {{id}}}""" + "\r\n");
            await reply;
        }

        public async ValueTask DisposeAsync()
        {
            await Client.DisposeAsync();
            reader.Dispose();
            await stream.DisposeAsync();
        }
    }

    private void Note(QmpEvent happened) => _events.Enqueue(
        happened.Data.ValueKind == JsonValueKind.Object ? $"{happened.Name} {happened.Data.GetProperty("reason").GetString()}" : happened.Name);
}
