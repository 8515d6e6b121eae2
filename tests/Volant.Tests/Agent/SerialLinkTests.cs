using System.Threading.Channels;
using Volant.Agent.Transport;
using Volant.Contracts.Boot;

namespace Volant.Tests.Agent;

public sealed class SerialLinkTests : IAsyncDisposable
{
    private static readonly byte[] Key = Guid.NewGuid().ToByteArray();

    private readonly HostSocket _pipe = new();
    private readonly CancellationTokenSource _stop = new();
    private readonly Channel<Stream> _accepted = Channel.CreateUnbounded<Stream>();
    private readonly Task _running;

    public SerialLinkTests()
    {
        var link = new SerialLink(_pipe.Guest, stream => _accepted.Writer.TryWrite(stream), TimeProvider.System);
        _running = link.RunAsync(_stop.Token);
    }

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Bytes_go_both_ways()
    {
        await using var host = await OpenAsync();
        await using var guest = await _accepted.Reader.ReadAsync(Token);

        await host.WriteAsync("ping"u8.ToArray(), Token);
        Assert.Equal("ping"u8.ToArray(), await ReadAsync(guest, 4));
        await guest.WriteAsync("pong"u8.ToArray(), Token);
        Assert.Equal("pong"u8.ToArray(), await ReadAsync(host, 4));
    }

    [Fact]
    public async Task A_host_that_comes_back_ends_the_old_connection_and_sees_none_of_its_bytes()
    {
        var first = await OpenAsync();
        var old = await _accepted.Reader.ReadAsync(Token);
        await old.WriteAsync(new byte[50_000], Token);
        await first.DisposeAsync();

        await using var second = await OpenAsync();
        await using var fresh = await _accepted.Reader.ReadAsync(Token);

        Assert.Equal(0, await old.ReadAsync(new byte[10], Token));
        await Assert.ThrowsAsync<IOException>(async () => await old.WriteAsync(new byte[1], Token));
        await fresh.WriteAsync("new"u8.ToArray(), Token);
        Assert.Equal("new"u8.ToArray(), await ReadAsync(second, 3));
    }

    [Fact]
    public async Task A_second_opening_without_leaving_also_starts_anew()
    {
        await using var raw = await _pipe.ConnectAsync(Token);
        await using var first = await SerialLinkClient.OpenAsync(raw, Key, Token);
        var old = await _accepted.Reader.ReadAsync(Token);

        await using var second = await SerialLinkClient.OpenAsync(raw, Key, Token);
        await using var fresh = await _accepted.Reader.ReadAsync(Token);

        // The magic before the key belongs to nobody yet, so the old connection may get it.
        await old.CopyToAsync(Stream.Null, Token);
        await second.WriteAsync(new byte[] { 9 }, Token);
        Assert.Equal([9], await ReadAsync(fresh, 1));
    }

    [Fact]
    public async Task A_connection_that_the_guest_closes_ends_for_the_host_and_the_link_goes_on()
    {
        await using var raw = await _pipe.ConnectAsync(Token);
        await using var host = await SerialLinkClient.OpenAsync(raw, Key, Token);
        var guest = await _accepted.Reader.ReadAsync(Token);
        await guest.WriteAsync("last"u8.ToArray(), Token);

        await guest.DisposeAsync();

        Assert.Equal("last"u8.ToArray(), await ReadAsync(host, 4));
        Assert.Equal(0, await host.ReadAsync(new byte[GuestLink.HelloLength], Token));
        await using var again = await SerialLinkClient.OpenAsync(raw, Key, Token);
        await using var fresh = await _accepted.Reader.ReadAsync(Token);
        await again.WriteAsync(new byte[] { 1 }, Token);
        Assert.Equal([1], await ReadAsync(fresh, 1));
    }

    [Fact]
    public async Task Another_key_opens_nothing_once_one_is_known()
    {
        await using var raw = await _pipe.ConnectAsync(Token);
        await using var host = await SerialLinkClient.OpenAsync(raw, Key, Token);
        await using var guest = await _accepted.Reader.ReadAsync(Token);
        var hello = new byte[GuestLink.HelloLength];
        GuestLink.WriteHello(hello, Guid.NewGuid().ToByteArray(), Guid.NewGuid().ToByteArray());

        await host.WriteAsync(hello, Token);

        Assert.Equal(hello, await ReadAsync(guest, hello.Length));
        Assert.False(_accepted.Reader.TryRead(out _));
    }

    [Fact]
    public async Task Many_megabytes_arrive_unchanged_through_reads_of_odd_sizes()
    {
        await using var host = await OpenAsync();
        await using var guest = await _accepted.Reader.ReadAsync(Token);
        var sent = new byte[5_000_000];
        Random.Shared.NextBytes(sent);

        var writing = host.WriteAsync(sent, Token);
        var got = new List<byte>(sent.Length);
        var buffer = new byte[12_345];
        while (got.Count < sent.Length)
        {
            var count = await guest.ReadAsync(buffer, Token);
            got.AddRange(buffer.AsSpan(0, count));
        }

        await writing;
        Assert.True(sent.AsSpan().SequenceEqual(got.ToArray()));
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await Assert.ThrowsAnyAsync<Exception>(() => _running);
        _pipe.Dispose();
        _stop.Dispose();
    }

    private static async Task<byte[]> ReadAsync(Stream stream, int count)
    {
        var bytes = new byte[count];
        await stream.ReadExactlyAsync(bytes, Token);
        return bytes;
    }

    private async Task<Stream> OpenAsync() => await SerialLinkClient.OpenAsync(await _pipe.ConnectAsync(Token), Key, Token);
}
