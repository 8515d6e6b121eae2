using System.Globalization;
using System.Net.WebSockets;
using System.Text;

namespace Volant.EndToEnd.Component;

/// <summary>Requests that are too large, too deep, too many or too slow (S13, G19): refused, and the daemon stays small and quick.</summary>
public sealed class LimitTests : IAsyncLifetime
{
    private const int MostGrowth = 50 * 1024 * 1024;
    private const int MiB = 1024 * 1024;

    private TestDaemon _daemon = null!;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        _daemon = await StandIn.StartAsync();
        (await _daemon.CreateAsync("web", query: "?wait=ready")).Expect(201);
    }

    public ValueTask DisposeAsync() => _daemon.DisposeAsync();

    [Fact]
    public async Task Too_large_too_deep_and_too_much_is_refused_and_leaves_the_daemon_small()
    {
        await Task.WhenAll(Enumerable.Range(0, 200).Select(_ => _daemon.CallAsync(HttpMethod.Get, "/api/v1/vms")));
        var before = _daemon.ResidentBytes();
        for (var round = 0; round < StandIn.Extent(3, 100); round++)
        {
            Assert.Equal(413, await RawAsync($"POST /api/v1/vms HTTP/1.1\r\nHost: l\r\nContent-Type: application/json\r\nContent-Length: {2 * MiB}\r\n\r\n", Chunks("a", 2 * MiB)));
            Assert.Equal(413, await RawAsync("POST /api/v1/vms HTTP/1.1\r\nHost: l\r\nContent-Type: application/json\r\nContent-Length: 1073741824\r\n\r\n", Chunks("a", 4 * MiB)));
            Assert.Equal(413, await RawAsync("POST /api/v1/vms HTTP/1.1\r\nHost: l\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n", Chunks($"10000\r\n{new string(' ', 0x10000)}\r\n", 1024 * MiB)));
            Assert.Equal(413, await RawAsync("POST /api/v1/plugins HTTP/1.1\r\nHost: l\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n", Chunks(" ", MiB)));
            (await _daemon.CallAsync(HttpMethod.Post, "/api/v1/vms", new string('[', 100_000))).Expect(400);
            (await _daemon.CallAsync(HttpMethod.Post, "/api/v1/vms", string.Concat(Enumerable.Repeat("{\"config\":", 50_000)))).Expect(400);
            Assert.Equal(431, await RawAsync("GET /api/v1/vms HTTP/1.1\r\nHost: l\r\n", Headers(10_000)));
            Assert.Equal(431, await RawAsync($"GET /api/v1/vms HTTP/1.1\r\nHost: l\r\nX-Big: ", Chunks("a", 64 * 1024)));
            Assert.Equal(414, await RawAsync($"GET /api/v1/vms?q={new string('a', 20_000)} HTTP/1.1\r\nHost: l\r\n\r\n", []));
            Assert.Equal(400, await GzipAsync());
            Assert.Equal(WebSocketCloseStatus.MessageTooBig, await GiantFrameAsync());
        }

        var grown = _daemon.ResidentBytes() - before;
        StandIn.Report($"memory grew by {grown >> 10} KiB");
        Assert.True(grown <= MostGrowth, $"the daemon grew by {grown >> 20} MiB");
        Assert.Equal(["web"], (await _daemon.VmsAsync()).Select(vm => vm.Name));
    }

    [Fact]
    public async Task Slow_connections_are_ended_and_slow_down_nobody()
    {
        var count = StandIn.Extent(300, 1500);
        var before = _daemon.ResidentBytes();
        var slow = new List<Stream>();
        try
        {
            for (var i = 0; i < count; i++)
            {
                var connection = await _daemon.ConnectAsync(Cancel);
                slow.Add(connection);
                await connection.WriteAsync(Encoding.ASCII.GetBytes(i % 2 == 0 ? "GET /api/v1/vms HTTP/1.1\r\nHost: l\r\nX-Slow: " : "POST /api/v1/vms HTTP/1.1\r\nHost: l\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"), Cancel);
            }

            var ended = slow.Select(connection => EndAsync(connection)).ToArray();
            var others = new List<double>();
            while (ended.Any(task => !task.IsCompleted))
            {
                others.Add((await _daemon.CallAsync(HttpMethod.Get, "/api/v1/vms")).Expect(200).Took.TotalMilliseconds);
                await Task.Delay(TimeSpan.FromMilliseconds(10), TimeProvider.System, Cancel);
            }

            others.Sort();
            var answers = (await Task.WhenAll(ended)).GroupBy(status => status).OrderBy(group => group.Key).Select(group => $"{group.Count()} × {group.Key}");
            var grown = _daemon.ResidentBytes() - before;
            StandIn.Report($"{count} slow connections ({string.Join(", ", answers)}), memory grew by {grown >> 20} MiB; {others.Count} other calls: median {others[others.Count / 2]:0.0} ms, p99 {others[others.Count * 99 / 100]:0.0} ms");
            Assert.All(await Task.WhenAll(ended), status => Assert.True(status is 408 or 0, $"{status}"));
            Assert.True(grown <= MostGrowth, $"the daemon grew by {grown >> 20} MiB");

            // 200 ms are promised; the rest is for a machine with other things to do.
            Assert.True(others[others.Count * 99 / 100] < 2000);
        }
        finally
        {
            foreach (var connection in slow)
            {
                await connection.DisposeAsync();
            }
        }
    }

    [Fact]
    public async Task A_flood_of_pings_costs_the_daemon_no_memory()
    {
        await using var connection = await UpgradeAsync("/ws/v1/vms/web/console");
        var before = _daemon.ResidentBytes();

        // RFC 6455, section 5.5.2: an empty ping with a mask of zeros.
        var pings = Enumerable.Repeat<byte[]>([0x89, 0x80, 0, 0, 0, 0], 4096).SelectMany(ping => ping).ToArray();
        using var enough = CancellationTokenSource.CreateLinkedTokenSource(Cancel);
        var pongs = DrainAsync(connection, enough.Token);
        for (var i = 0; i < StandIn.Extent(25, 2500); i++)
        {
            await connection.WriteAsync(pings, Cancel);
        }

        await enough.CancelAsync();
        await pongs;
        var grown = _daemon.ResidentBytes() - before;
        StandIn.Report($"memory grew by {grown >> 10} KiB");
        Assert.True(grown <= MostGrowth, $"the daemon grew by {grown >> 20} MiB");
        (await _daemon.CallAsync(HttpMethod.Get, "/api/v1/vms")).Expect(200);
    }

    private static IEnumerable<byte[]> Chunks(string text, long bytes)
    {
        var chunk = Encoding.ASCII.GetBytes(text.Length < 1024 ? string.Concat(Enumerable.Repeat(text, 64 * 1024 / text.Length)) : text);
        for (var sent = 0L; sent < bytes; sent += chunk.Length)
        {
            yield return chunk;
        }
    }

    private static IEnumerable<byte[]> Headers(int count) => [Encoding.ASCII.GetBytes(string.Concat(Enumerable.Range(0, count).Select(i => string.Create(CultureInfo.InvariantCulture, $"X-{i}: 1\r\n"))) + "\r\n")];

    /// <summary>Status of the answer to bytes that are sent until the daemon has had enough.</summary>
    private async Task<int> RawAsync(string head, IEnumerable<byte[]> rest)
    {
        await using var connection = await _daemon.ConnectAsync(Cancel);
        var answer = EndAsync(connection);
        try
        {
            await connection.WriteAsync(Encoding.ASCII.GetBytes(head), Cancel);
            foreach (var bytes in rest.TakeWhile(_ => !answer.IsCompleted))
            {
                await connection.WriteAsync(bytes, Cancel);
            }
        }
        catch (IOException)
        {
            // It closed the connection: the answer came before.
        }

        return await answer.WaitAsync(TimeSpan.FromSeconds(30), TimeProvider.System, Cancel);
    }

    /// <summary>Status of the first answer on a connection; 0 when it was closed without one.</summary>
    private static async Task<int> EndAsync(Stream connection)
    {
        var buffer = new byte[4096];
        var count = 0;
        try
        {
            while (count < 12 && await connection.ReadAsync(buffer.AsMemory(count), Cancel) is > 0 and var read)
            {
                count += read;
            }
        }
        catch (IOException)
        {
            // Reset: what was read before counts.
        }

        return count >= 12 ? int.Parse(Encoding.ASCII.GetString(buffer, 9, 3), CultureInfo.InvariantCulture) : 0;
    }

    /// <summary>A request whose body is compressed: nobody unpacks it.</summary>
    private async Task<int> GzipAsync()
    {
        using var packed = new MemoryStream();
        await using (var gzip = new System.IO.Compression.GZipStream(packed, System.IO.Compression.CompressionLevel.SmallestSize, leaveOpen: true))
        {
            await gzip.WriteAsync(new byte[64 * MiB], Cancel);
        }

        using var content = new ByteArrayContent(packed.ToArray());
        content.Headers.TryAddWithoutValidation("Content-Type", "application/json");
        content.Headers.TryAddWithoutValidation("Content-Encoding", "gzip");
        using var response = await _daemon.Client.PostAsync("/api/v1/vms", content, Cancel);
        return (int)response.StatusCode;
    }

    /// <summary>How a console ends whose client announces a frame of a gigabyte and begins to send it (RFC 6455, section 5.2).</summary>
    private async Task<WebSocketCloseStatus?> GiantFrameAsync()
    {
        await using var connection = await UpgradeAsync("/ws/v1/vms/web/console");
        var closed = CloseAsync(connection);
        try
        {
            await connection.WriteAsync(new byte[] { 0x82, 0xff, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0 }, Cancel);
            foreach (var bytes in Chunks("a", 1024L * MiB).TakeWhile(_ => !closed.IsCompleted))
            {
                await connection.WriteAsync(bytes, Cancel);
            }
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException)
        {
            // It closed the connection, and who read the end of it has closed this side.
        }

        return await closed.WaitAsync(TimeSpan.FromSeconds(30), TimeProvider.System, Cancel);
    }

    private static async Task<WebSocketCloseStatus?> CloseAsync(Stream connection)
    {
        using var reader = WebSocket.CreateFromStream(connection, isServer: false, subProtocol: null, Timeout.InfiniteTimeSpan);
        var buffer = new byte[64 * 1024];
        try
        {
            while ((await reader.ReceiveAsync(buffer.AsMemory(), Cancel)).MessageType != WebSocketMessageType.Close)
            {
                // What the console shows.
            }
        }
        catch (WebSocketException)
        {
            return null;
        }

        return reader.CloseStatus;
    }

    private static async Task DrainAsync(Stream connection, CancellationToken cancellationToken)
    {
        var buffer = new byte[64 * 1024];
        try
        {
            while (await connection.ReadAsync(buffer, cancellationToken) > 0)
            {
                // Pongs.
            }
        }
        catch (Exception e) when (e is OperationCanceledException or IOException)
        {
            // Enough.
        }
    }

    private async Task<Stream> UpgradeAsync(string path)
    {
        var connection = await _daemon.ConnectAsync(Cancel);
        await connection.WriteAsync(Encoding.ASCII.GetBytes($"GET {path} HTTP/1.1\r\nHost: l\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"), Cancel);
        var head = new StringBuilder();
        var one = new byte[1];
        while (!head.ToString().EndsWith("\r\n\r\n", StringComparison.Ordinal) && await connection.ReadAsync(one, Cancel) > 0)
        {
            head.Append((char)one[0]);
        }

        Assert.StartsWith("HTTP/1.1 101", head.ToString(), StringComparison.Ordinal);
        return connection;
    }
}
