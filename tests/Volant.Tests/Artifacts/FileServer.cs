using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace Volant.Tests.Artifacts;

/// <summary>An HTTP server on a loopback address that answers as a test says, byte by byte; one request for each connection.</summary>
internal sealed class FileServer : IAsyncDisposable
{
    private readonly TcpListener _listener;
    private readonly Func<string, NetworkStream, Task> _answer;
    private readonly Task _accepting;

    /// <param name="answer">Gets the head of a request, and writes the answer.</param>
    /// <param name="address">Where it listens.</param>
    public FileServer(Func<string, NetworkStream, Task> answer, string address = "127.0.0.1")
    {
        _answer = answer;
        _listener = new TcpListener(IPAddress.Parse(address), 0);
        _listener.Start();
        _accepting = AcceptAsync();
    }

    /// <summary>Heads of the requests so far.</summary>
    public ConcurrentQueue<string> Requests { get; } = [];

    /// <summary>Connections so far.</summary>
    public int Connections { get; private set; }

    public string Url => $"http://{_listener.LocalEndpoint}/image";

    /// <summary>Writes a whole answer.</summary>
    public static async Task SendAsync(NetworkStream stream, string head, ReadOnlyMemory<byte> body = default)
    {
        await stream.WriteAsync(Encoding.Latin1.GetBytes(head.ReplaceLineEndings("\r\n") + "\r\n\r\n"));
        await stream.WriteAsync(body);
    }

    /// <summary>An answer with all of a file.</summary>
    public static Task SendFileAsync(NetworkStream stream, ReadOnlyMemory<byte> file, string more = "X: y") =>
        SendAsync(stream, $"HTTP/1.1 200 OK\nContent-Length: {file.Length}\nConnection: close\n{more}", file);

    public async ValueTask DisposeAsync()
    {
        _listener.Stop();
        await _accepting;
        _listener.Dispose();
    }

    private async Task AcceptAsync()
    {
        try
        {
            while (true)
            {
                var client = await _listener.AcceptTcpClientAsync();
                Connections++;
                _ = ServeAsync(client);
            }
        }
        catch (Exception e) when (e is SocketException or InvalidOperationException)
        {
            // Stopped: an accept that comes too late finds it disposed of, or not listening.
        }
    }

    private async Task ServeAsync(TcpClient client)
    {
        using (client)
        {
            try
            {
                var stream = client.GetStream();
                var head = new StringBuilder();
                var buffer = new byte[1];
                while (!head.ToString().EndsWith("\r\n\r\n", StringComparison.Ordinal) && await stream.ReadAsync(buffer) > 0)
                {
                    head.Append((char)buffer[0]);
                }

                if (head.Length > 0)
                {
                    Requests.Enqueue(head.ToString());
                    await _answer(head.ToString(), stream);
                }
            }
            catch (Exception e) when (e is IOException or SocketException)
            {
                // The client had enough.
            }
        }
    }
}
