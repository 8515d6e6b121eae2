using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using Volant.Contracts;

namespace Volant.Bench.Figures;

/// <summary>What a published port adds to a direct connection. The guest is an echo server on a loopback address, so that only the forwarder is measured.</summary>
internal static class PortsFigure
{
    private const int WarmUps = 200;
    private const long Bytes = 1L << 30;
    private const int Downloads = 3;

    // A subnet of loopback: the daemon takes the address for a guest's, and the host needs no interface for it.
    private static readonly IPAddress Guest = IPAddress.Parse("127.77.0.2");
    private static readonly Dictionary<string, string> Variables = new(StringComparer.Ordinal) { ["VOLANT_SUBNET"] = "127.77.0.0/24", ["VOLANT_HOST_IP"] = "127.77.0.1" };

    public static async Task<Section> MeasureAsync(BenchContext context, CancellationToken cancellationToken)
    {
        await using var daemon = await BenchDaemon.StartAsync(context, context.Kernel, cancellationToken, Variables);
        using var over = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        using var tcp = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        using var udp = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
        tcp.Bind(new IPEndPoint(Guest, 0));
        tcp.Listen(512);
        udp.Bind(new IPEndPoint(Guest, 0));
        var serving = Task.WhenAll(ServeTcpAsync(tcp, over.Token), ServeUdpAsync(udp, over.Token));
        var (direct, directUdp) = ((IPEndPoint)tcp.LocalEndPoint!, (IPEndPoint)udp.LocalEndPoint!);
        var published = await PublishAsync(daemon, "tcp", direct.Port, cancellationToken);
        var publishedUdp = await PublishAsync(daemon, "udp", directUdp.Port, cancellationToken);

        var section = new Section("Published ports, against a direct connection");
        foreach (var (title, address, datagrams) in new[] { ("direct", direct, directUdp), ("published", published, publishedUdp) })
        {
            section
                .Add($"TCP, {title}: one byte there and back", "ms", await RoundTripsAsync(context, address, ProtocolType.Tcp, cancellationToken))
                .Add($"TCP, {title}: connect, one byte there and back", "ms", await ConnectsAsync(context, address, cancellationToken))
                .Add($"TCP, {title}: download of {Bytes >> 20} MiB", "MiB/s", await DownloadAsync(context, address, cancellationToken))
                .Add($"UDP, {title}: one byte there and back", "ms", await RoundTripsAsync(context, datagrams, ProtocolType.Udp, cancellationToken));
        }

        await over.CancelAsync();
        await serving;
        return section.Note($"Client, forwarder and server share the processors. The first {WarmUps} round trips of each kind are left out. The daemon's memory afterwards: {daemon.ResidentBytes / 1e6:0.0} MB.");
    }

    private static async Task<IPEndPoint> PublishAsync(BenchDaemon daemon, string protocol, int port, CancellationToken cancellationToken)
    {
        using var body = new StringContent($$"""{"protocol": "{{protocol}}", "backend": {"type": "bridge", "ip": "{{Guest}}", "port": {{port}} } }""", Encoding.UTF8, "application/json");
        using var response = await daemon.Client.PostAsync("/api/v1/drift/routes", body, cancellationToken);
        var text = await response.Content.ReadAsStringAsync(cancellationToken);
        return response.IsSuccessStatusCode
            ? new IPEndPoint(IPAddress.Loopback, JsonSerializer.Deserialize(text, ContractsJson.Default.PublishedRoute)!.HostPort)
            : throw new IOException($"volantd refused to publish a port: {(int)response.StatusCode} {text}");
    }

    private static async Task<List<double>> RoundTripsAsync(BenchContext context, IPEndPoint address, ProtocolType protocol, CancellationToken cancellationToken)
    {
        using var socket = new Socket(AddressFamily.InterNetwork, protocol == ProtocolType.Tcp ? SocketType.Stream : SocketType.Dgram, protocol);
        await socket.ConnectAsync(address, cancellationToken);
        List<double> times = [];
        for (var i = -WarmUps; i < context.Options.Requests * 10; i++)
        {
            var sent = context.Clock.GetTimestamp();
            await RoundTripAsync(socket, cancellationToken);
            if (i >= 0)
            {
                times.Add(context.MillisecondsSince(sent));
            }
        }

        return times;
    }

    private static async Task<List<double>> ConnectsAsync(BenchContext context, IPEndPoint address, CancellationToken cancellationToken)
    {
        List<double> times = [];
        for (var i = -WarmUps; i < context.Options.Requests; i++)
        {
            var sent = context.Clock.GetTimestamp();
            using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
            await socket.ConnectAsync(address, cancellationToken);
            await RoundTripAsync(socket, cancellationToken);
            if (i >= 0)
            {
                times.Add(context.MillisecondsSince(sent));
            }
        }

        return times;
    }

    /// <summary>Asks the server for many bytes by the byte 1, once per connection.</summary>
    private static async Task<List<double>> DownloadAsync(BenchContext context, IPEndPoint address, CancellationToken cancellationToken)
    {
        var buffer = new byte[256 * 1024];
        List<double> rates = [];
        while (rates.Count < Downloads)
        {
            using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
            await socket.ConnectAsync(address, cancellationToken);
            var sent = context.Clock.GetTimestamp();
            await socket.SendAsync(new byte[] { 1 }, cancellationToken);
            var length = 0L;
            while (await socket.ReceiveAsync(buffer, cancellationToken) is > 0 and var count)
            {
                length += count;
            }

            if (length != Bytes)
            {
                throw new IOException($"The download ended after {length} of {Bytes} bytes.");
            }

            rates.Add(length / 1024.0 / 1024.0 / context.Clock.GetElapsedTime(sent).TotalSeconds);
        }

        return rates;
    }

    private static async Task RoundTripAsync(Socket socket, CancellationToken cancellationToken)
    {
        var buffer = new byte[1];
        await socket.SendAsync(buffer, cancellationToken);
        if (await socket.ReceiveAsync(buffer, cancellationToken) != 1)
        {
            throw new IOException("The echo server hung up.");
        }
    }

    private static async Task ServeTcpAsync(Socket listener, CancellationToken over)
    {
        try
        {
            while (true)
            {
                var client = await listener.AcceptAsync(over);
                client.NoDelay = true;
                _ = ServeAsync(client, over);
            }
        }
        catch (OperationCanceledException)
        {
            // The figure is taken.
        }
    }

    private static async Task ServeAsync(Socket client, CancellationToken over)
    {
        using (client)
        {
            try
            {
                var buffer = new byte[256 * 1024];
                while (await client.ReceiveAsync(buffer.AsMemory(0, 1), over) == 1)
                {
                    if (buffer[0] == 1)
                    {
                        for (var left = Bytes; left > 0; left -= buffer.Length)
                        {
                            await client.SendAsync(buffer, over);
                        }

                        return;
                    }

                    await client.SendAsync(buffer.AsMemory(0, 1), over);
                }
            }
            catch (Exception e) when (e is SocketException or OperationCanceledException)
            {
                // The client is done.
            }
        }
    }

    private static async Task ServeUdpAsync(Socket socket, CancellationToken over)
    {
        var buffer = new byte[2048];
        var client = new SocketAddress(AddressFamily.InterNetwork);
        try
        {
            while (true)
            {
                var count = await socket.ReceiveFromAsync(buffer, SocketFlags.None, client, over);
                await socket.SendToAsync(buffer.AsMemory(0, count), SocketFlags.None, client, over);
            }
        }
        catch (OperationCanceledException)
        {
            // The figure is taken.
        }
    }
}
