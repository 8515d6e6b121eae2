using System.Net;
using System.Net.Sockets;
using System.Text;

namespace Volant.Tests.Fledge;

/// <summary>A registry on loopback that misbehaves as told: contents by path, and what is done to each answer.</summary>
internal sealed class FakeRegistry : IAsyncDisposable
{
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly CancellationTokenSource _stopping = new();
    private readonly Dictionary<string, byte[]> _contents = new(StringComparer.Ordinal);
    private readonly Task _serving;

    public FakeRegistry()
    {
        _listener.Start();
        _serving = ServeAsync();
    }

    /// <summary>Host and port.</summary>
    public string Host => $"127.0.0.1:{((IPEndPoint)_listener.LocalEndpoint).Port}";

    /// <summary>Every request: method line and headers.</summary>
    public List<string> Requests { get; } = [];

    /// <summary>Makes another answer than the content; null for the content.</summary>
    public Func<string, string, byte[]?> Intercept { get; set; } = (_, _) => null;

    /// <summary>Puts an image of some layers under a name and returns the digest of its manifest.</summary>
    public string Push(string repository, string tag, string config, params byte[][] layers)
    {
        var packed = layers.Select(OciImage.Gzip).ToArray();
        var document = OciImage.Config(config, layers);
        var manifest = OciImage.Manifest(document, packed);
        Put($"/v2/{repository}/manifests/{tag}", manifest);
        Put($"/v2/{repository}/manifests/{OciImage.Digest(manifest)}", manifest);
        foreach (var blob in packed.Append(document))
        {
            Put($"/v2/{repository}/blobs/{OciImage.Digest(blob)}", blob);
        }

        return OciImage.Digest(manifest);
    }

    public void Put(string path, byte[] content) => _contents[path] = content;

    public static byte[] Answer(string status, string headers = "", byte[]? body = null, int? length = null)
    {
        body ??= [];
        return [.. Encoding.ASCII.GetBytes($"HTTP/1.1 {status}\r\nContent-Length: {length ?? body.Length}\r\nConnection: close\r\n{headers}\r\n"), .. body];
    }

    public async ValueTask DisposeAsync()
    {
        await _stopping.CancelAsync();
        _listener.Dispose();
        await _serving;
        _stopping.Dispose();
    }

    private async Task ServeAsync()
    {
        try
        {
            while (true)
            {
                using var client = await _listener.AcceptTcpClientAsync(_stopping.Token);
                await AnswerAsync(client);
            }
        }
        catch (Exception e) when (e is OperationCanceledException or ObjectDisposedException or SocketException)
        {
            // The test is over.
        }
    }

    private async Task AnswerAsync(TcpClient client)
    {
        try
        {
            await using var stream = client.GetStream();
            var request = await ReadAsync(stream);
            lock (Requests)
            {
                Requests.Add(request);
            }

            var path = request.Split(' ') is [_, var target, ..] ? target : string.Empty;
            await stream.WriteAsync(Intercept(path, request) ?? Respond(path, request), _stopping.Token);
        }
        catch (IOException)
        {
            // The client has had enough.
        }
    }

    private byte[] Respond(string path, string request)
    {
        if (!_contents.TryGetValue(path, out var content))
        {
            return Answer("404 Not Found");
        }

        var from = request.Split("\r\n").FirstOrDefault(line => line.StartsWith("Range: bytes=", StringComparison.Ordinal)) is { } range
            ? int.Parse(range["Range: bytes=".Length..].TrimEnd('-'), System.Globalization.CultureInfo.InvariantCulture)
            : 0;
        return from == 0
            ? Answer("200 OK", body: content)
            : Answer("206 Partial Content", $"Content-Range: bytes {from}-{content.Length - 1}/{content.Length}\r\n", content[from..]);
    }

    private async Task<string> ReadAsync(NetworkStream stream)
    {
        var text = new StringBuilder();
        var buffer = new byte[4096];
        while (!text.ToString().EndsWith("\r\n\r\n", StringComparison.Ordinal))
        {
            var read = await stream.ReadAsync(buffer, _stopping.Token);
            if (read == 0)
            {
                break;
            }

            text.Append(Encoding.ASCII.GetString(buffer, 0, read));
        }

        return text.ToString();
    }
}
