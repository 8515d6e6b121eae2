using System.Globalization;
using System.Net.Sockets;
using System.Text;

namespace Volant.TestWorkload;

/// <summary>One HTTP/1.1 request on one connection.</summary>
/// <remarks>Raw sockets on purpose: it must run without a C library in the guest, and misbehave where a test asks for it.</remarks>
internal sealed class Exchange(TcpClient client, TaskCompletionSource<int> exit)
{
    private readonly NetworkStream _stream = client.GetStream();
    private readonly byte[] _buffer = new byte[64 * 1024];
    private int _start;
    private int _end;

    public async Task RunAsync()
    {
        using (client)
        {
            try
            {
                await AnswerAsync();
                await _stream.FlushAsync();
                client.Client.Shutdown(SocketShutdown.Send);
            }
            catch (Exception e) when (e is IOException or SocketException)
            {
                await Console.Error.WriteLineAsync($"connection ended: {e.Message}");
            }
        }
    }

    private async Task AnswerAsync()
    {
        var head = await ReadHeadAsync();
        var lines = head.Split("\r\n");
        var target = lines[0].Split(' ')[1];
        var headers = lines.Skip(1).Where(line => line.Contains(':', StringComparison.Ordinal))
            .ToDictionary(line => line[..line.IndexOf(':', StringComparison.Ordinal)], line => line[(line.IndexOf(':', StringComparison.Ordinal) + 1)..].Trim(), StringComparer.OrdinalIgnoreCase);
        var path = target.Split('?')[0];
        var argument = path[(path.LastIndexOf('/') + 1)..];
        switch (path.Split('/')[1])
        {
            case "request":
                await TextAsync(200, head);
                break;
            case "read":
                await TextAsync(200, await File.ReadAllTextAsync(path["/read".Length..]));
                break;
            case "write":
                await File.WriteAllTextAsync(path["/write".Length..], "written by the guest\n");
                await TextAsync(200, "written");
                break;
            case "env":
                await TextAsync(200, Environment.GetEnvironmentVariable(argument) ?? "(unset)");
                break;
            case "echo":
                await EchoAsync(headers);
                break;
            case "bytes":
                await BytesAsync(long.Parse(argument, CultureInfo.InvariantCulture));
                break;
            case "events":
                await EventsAsync(int.Parse(argument, CultureInfo.InvariantCulture));
                break;
            case "slow":
                await Task.Delay(TimeSpan.FromMilliseconds(int.Parse(argument, CultureInfo.InvariantCulture)), TimeProvider.System);
                await TextAsync(200, "slow");
                break;
            case "ws":
                await WebSocketAsync();
                break;
            case "garbage":
                await WriteAsync("this is not HTTP\r\n\r\n");
                break;
            case "redirect":
                await WriteAsync("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/stolen\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n");
                break;
            case "exit":
                await TextAsync(200, "bye");
                exit.TrySetResult(int.Parse(argument, CultureInfo.InvariantCulture));
                break;
            default:
                await TextAsync(200, $"hello from {Environment.MachineName}");
                break;
        }
    }

    private async Task EchoAsync(Dictionary<string, string> headers)
    {
        if (headers.TryGetValue("Content-Length", out var length))
        {
            await WriteAsync($"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
            for (var left = long.Parse(length, CultureInfo.InvariantCulture); left > 0;)
            {
                var chunk = await ReadSomeAsync((int)Math.Min(left, int.MaxValue));
                await _stream.WriteAsync(chunk);
                left -= chunk.Length;
            }
        }
        else
        {
            await WriteAsync("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            while (int.Parse(await ReadLineAsync(), NumberStyles.HexNumber, CultureInfo.InvariantCulture) is > 0 and var size)
            {
                await WriteAsync($"{size:x}\r\n");
                for (var left = size; left > 0;)
                {
                    var chunk = await ReadSomeAsync(left);
                    await _stream.WriteAsync(chunk);
                    left -= chunk.Length;
                }

                await WriteAsync("\r\n");
                await ReadLineAsync();
            }

            await WriteAsync("0\r\n\r\n");
        }
    }

    private async Task BytesAsync(long count)
    {
        await WriteAsync($"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {count}\r\n\r\n");
        var block = new byte[32 * 1024];
        for (; count > 0; count -= block.Length)
        {
            await _stream.WriteAsync(block.AsMemory(0, (int)Math.Min(count, block.Length)));
        }
    }

    private async Task EventsAsync(int count)
    {
        await WriteAsync("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n");
        for (var i = 0; i < count; i++)
        {
            await WriteAsync(string.Create(CultureInfo.InvariantCulture, $"id: {i}\ndata: event {i}\n\n"));
            await Task.Delay(TimeSpan.FromMilliseconds(20), TimeProvider.System);
        }
    }

    /// <summary>Echoes frames of at most 125 bytes (RFC 6455, section 5.2) until a close frame.</summary>
    private async Task WebSocketAsync()
    {
        await WriteAsync("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: unchecked\r\n\r\n");
        while (true)
        {
            var opcode = await ReadByteAsync();
            var length = await ReadByteAsync() & 0x7f;
            var mask = new byte[4];
            for (var i = 0; i < 4; i++)
            {
                mask[i] = await ReadByteAsync();
            }

            var frame = new byte[2 + length];
            frame[0] = opcode;
            frame[1] = (byte)length;
            for (var i = 0; i < length; i++)
            {
                frame[2 + i] = (byte)(await ReadByteAsync() ^ mask[i % 4]);
            }

            await _stream.WriteAsync(frame);
            if ((opcode & 0xf) == 8)
            {
                return;
            }
        }
    }

    private Task TextAsync(int status, string text) =>
        WriteAsync($"HTTP/1.1 {status} OK\r\nContent-Type: text/plain\r\nContent-Length: {Encoding.UTF8.GetByteCount(text)}\r\n\r\n{text}");

    private async Task WriteAsync(string text) => await _stream.WriteAsync(Encoding.UTF8.GetBytes(text));

    private async Task<string> ReadHeadAsync()
    {
        var head = new StringBuilder();
        while (await ReadLineAsync() is { Length: > 0 } line)
        {
            head.Append(line).Append("\r\n");
        }

        return head.ToString();
    }

    private async Task<string> ReadLineAsync()
    {
        var line = new StringBuilder();
        while (true)
        {
            var c = (char)await ReadByteAsync();
            if (c == '\n')
            {
                return line.ToString().TrimEnd('\r');
            }

            line.Append(c);
        }
    }

    private async ValueTask<byte> ReadByteAsync()
    {
        await FillAsync();
        return _buffer[_start++];
    }

    private async ValueTask<ReadOnlyMemory<byte>> ReadSomeAsync(int most)
    {
        await FillAsync();
        var length = Math.Min(most, _end - _start);
        _start += length;
        return _buffer.AsMemory(_start - length, length);
    }

    private async ValueTask FillAsync()
    {
        if (_start == _end)
        {
            _start = 0;
            _end = await _stream.ReadAsync(_buffer);
            if (_end == 0)
            {
                throw new IOException("the peer closed");
            }
        }
    }
}
