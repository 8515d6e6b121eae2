using System.Net.WebSockets;
using System.Text;

namespace Volant.Tests.Api;

/// <summary>WebSockets to the daemon of a fixture.</summary>
internal static class ClientSockets
{
    private static CancellationToken Token => TestContext.Current.CancellationToken;

    /// <summary>Connects; <paramref name="headers"/> are sent with the handshake.</summary>
    public static async Task<ClientWebSocket> OpenAsync(this ApiFixture api, string path, IEnumerable<string>? protocols = null, params (string Name, string Value)[] headers)
    {
        var socket = new ClientWebSocket();
        socket.Options.CollectHttpResponseDetails = true;
        foreach (var protocol in protocols ?? [])
        {
            socket.Options.AddSubProtocol(protocol);
        }

        foreach (var (name, value) in headers)
        {
            socket.Options.SetRequestHeader(name, value);
        }

        using var invoker = new HttpMessageInvoker(new SocketsHttpHandler { ConnectCallback = (_, cancellationToken) => api.ConnectAsync(cancellationToken) });
        try
        {
            await socket.ConnectAsync(new Uri("ws://localhost" + path), invoker, Token);
            return socket;
        }
        catch (WebSocketException e)
        {
            throw new RefusedException((int)socket.HttpStatusCode, e);
        }
    }

    /// <summary>Status of a handshake that is refused.</summary>
    public static async Task<int> RefusalAsync(this ApiFixture api, string path, IEnumerable<string>? protocols = null, params (string Name, string Value)[] headers) =>
        (await Assert.ThrowsAsync<RefusedException>(() => api.OpenAsync(path, protocols, headers))).Status;

    /// <summary>The next message; null when the server closes.</summary>
    public static async Task<(WebSocketMessageType Type, string Text)?> NextAsync(this ClientWebSocket socket)
    {
        var buffer = new byte[64 * 1024];
        var text = new StringBuilder();
        while (true)
        {
            var received = await socket.ReceiveAsync(buffer.AsMemory(), Token);
            if (received.MessageType == WebSocketMessageType.Close)
            {
                return null;
            }

            text.Append(Encoding.UTF8.GetString(buffer, 0, received.Count));
            if (received.EndOfMessage)
            {
                return (received.MessageType, text.ToString());
            }
        }
    }

    /// <summary>Reads binary messages until their text ends with <paramref name="end"/>; other messages are dropped.</summary>
    public static async Task<string> UntilAsync(this ClientWebSocket socket, string end)
    {
        var text = string.Empty;
        while (!text.EndsWith(end, StringComparison.Ordinal))
        {
            var (type, next) = await socket.NextAsync() ?? throw new EndOfStreamException(text);
            text += type == WebSocketMessageType.Binary ? next : string.Empty;
        }

        return text;
    }

    public static Task SendAsync(this ClientWebSocket socket, string text, WebSocketMessageType type = WebSocketMessageType.Text) =>
        socket.SendAsync(Encoding.UTF8.GetBytes(text), type, true, Token);

    internal sealed class RefusedException(int status, Exception inner) : Exception($"refused with {status}", inner)
    {
        public int Status => status;
    }
}
