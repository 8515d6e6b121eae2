using System.Buffers.Binary;
using Volant.Contracts.Boot;

namespace Volant.StandIn;

/// <summary>The agent behind a connection to the virtio-serial port: the link's opening, then just enough of an HTTP/2 server.</summary>
/// <remarks>
/// Source: RFC 9113 (frames), RFC 7541 (HPACK; only static entries and plain literals are written, and only plain text is looked for in
/// what is read, because .NET's client writes paths plainly). A state that was seen before is answered when the client's wait is over.
/// </remarks>
/// <param name="fault">What goes wrong.</param>
/// <param name="linked">Whether the connection needs no opening of its own: behind vsock.</param>
internal sealed class AgentConnection(Fault fault, bool linked = false)
{
    private const int HeaderLength = 9;
    private const int PrefaceLength = 24;
    private const byte Data = 0;
    private const byte Headers = 1;
    private const byte Reset = 3;
    private const byte Settings = 4;
    private const byte Ping = 6;
    private const byte Ack = 1;
    private const byte EndStream = 1;
    private const byte EndHeaders = 4;
    private const int LongPollMs = 25_000;

    // ":status 200" and "content-type: application/json"; ":status 202" for a shutdown.
    private static readonly byte[] Ok = [0x88, 0x0f, 0x10, 16, .. "application/json"u8];
    private static readonly byte[] OkStream = [0x88, 0x0f, 0x10, 17, .. "text/event-stream"u8];
    private static readonly byte[] Accepted = [0x08, 3, .. "202"u8];

    private readonly List<(int Stream, long Due)> _held = [];
    private byte[] _buffer = new byte[4096];
    private int _count;
    private bool _linked = linked;
    private bool _greeted;

    /// <summary>When the next held answer is due, in milliseconds of <see cref="Environment.TickCount64"/>.</summary>
    public long NextDue => _held.Count == 0 ? long.MaxValue : _held[0].Due;

    /// <summary>Reads what is there and answers it; false when the connection is over.</summary>
    /// <param name="socket">The connection.</param>
    /// <param name="shutDown">Called when the guest is asked to power off.</param>
    public bool Serve(int socket, Action shutDown)
    {
        if (_count == _buffer.Length)
        {
            Array.Resize(ref _buffer, 2 * _count);
        }

        var read = LibC.Receive(socket, _buffer.AsSpan(_count));
        if (read <= 0)
        {
            return read != 0;
        }

        _count += read;
        while (Step(socket, shutDown) is > 0 and var used)
        {
            _count -= used;
            _buffer.AsSpan(used, _count).CopyTo(_buffer);
        }

        return true;
    }

    /// <summary>Answers the long polls whose time has come.</summary>
    public void AnswerDue(int socket, long now)
    {
        while (_held.Count > 0 && _held[0].Due <= now)
        {
            AnswerState(socket, _held[0].Stream);
            _held.RemoveAt(0);
        }
    }

    /// <summary>Handles one whole thing at the start of the buffer, and says how long it was; 0 when it is not all there.</summary>
    private int Step(int socket, Action shutDown)
    {
        var bytes = _buffer.AsSpan(0, _count);
        if (!_linked)
        {
            if (bytes.Length < GuestLink.HelloLength)
            {
                return 0;
            }

            _linked = true;
            if (!fault.Is("mute-agent"))
            {
                LibC.Send(socket, bytes[GuestLink.KeyLength..GuestLink.HelloLength]);
            }

            return GuestLink.HelloLength;
        }

        if (!_greeted)
        {
            if (bytes.Length < PrefaceLength)
            {
                return 0;
            }

            _greeted = true;
            Write(socket, Settings, 0, 0, []);
            return PrefaceLength;
        }

        if (bytes.Length < HeaderLength)
        {
            return 0;
        }

        var length = (bytes[0] << 16) | (bytes[1] << 8) | bytes[2];
        if (bytes.Length < HeaderLength + length)
        {
            return 0;
        }

        Handle(socket, bytes[3], bytes[4], BinaryPrimitives.ReadInt32BigEndian(bytes[5..]), bytes.Slice(HeaderLength, length), shutDown);
        return HeaderLength + length;
    }

    private void Handle(int socket, byte type, byte flags, int stream, ReadOnlySpan<byte> payload, Action shutDown)
    {
        switch (type)
        {
            case Settings or Ping when (flags & Ack) == 0:
                Write(socket, type, Ack, 0, type == Ping ? payload : []);
                break;
            case Reset:
                _held.RemoveAll(held => held.Stream == stream);
                break;
            case Headers:
                Answer(socket, stream, payload, shutDown);
                break;
        }
    }

    private void Answer(int socket, int stream, ReadOnlySpan<byte> request, Action shutDown)
    {
        if (request.IndexOf("/v1/agent/state?since=0&"u8) >= 0)
        {
            AnswerState(socket, stream);
        }
        else if (request.IndexOf("/v1/agent/state"u8) >= 0)
        {
            _held.Add((stream, Environment.TickCount64 + LongPollMs));
        }
        else if (request.IndexOf("/v1/logs/stream"u8) >= 0)
        {
            Write(socket, Headers, EndHeaders, stream, OkStream);
        }
        else if (request.IndexOf("/v1/agent/shutdown"u8) >= 0)
        {
            Write(socket, Headers, EndHeaders | EndStream, stream, Accepted);
            shutDown();
        }
        else
        {
            Write(socket, Headers, EndHeaders, stream, Ok);
            Write(socket, Data, EndStream, stream, "{\"stand_in\":true}\n"u8);
        }
    }

    private void AnswerState(int socket, int stream)
    {
        Write(socket, Headers, EndHeaders, stream, Ok);
        Write(socket, Data, EndStream, stream, fault.Is("never-ready")
            ? """{"revision":1,"status":"ok","ready":false,"version":"1","hostname":"s","kernel":"0","uptime":1,"workload":{"status":"starting"}}"""u8
            : """{"revision":1,"status":"ok","ready":true,"version":"1","hostname":"s","kernel":"0","uptime":1,"workload":{"status":"running","pid":1}}"""u8);
    }

    private static void Write(int socket, byte type, int flags, int stream, ReadOnlySpan<byte> payload)
    {
        Span<byte> frame = stackalloc byte[HeaderLength + payload.Length];
        frame[0] = (byte)(payload.Length >> 16);
        frame[1] = (byte)(payload.Length >> 8);
        frame[2] = (byte)payload.Length;
        frame[3] = type;
        frame[4] = (byte)flags;
        BinaryPrimitives.WriteInt32BigEndian(frame[5..], stream);
        payload.CopyTo(frame[HeaderLength..]);
        LibC.Send(socket, frame);
    }
}
