using System.Buffers.Binary;
using System.Globalization;
using Volant.Daemon.Guests;
using Volant.Daemon.Publishing;

namespace Volant.Daemon.Orchestration;

/// <summary>Reaches ports on a guest's loopback by the guest channel.</summary>
internal static class GuestTunnels
{
    /// <summary>Opens a TCP connection (<c>POST /v1/agent/tunnel?port=</c> of the agent).</summary>
    public static async Task<Connection> ConnectAsync(GuestClient guest, string name, int port, CancellationToken cancellationToken) =>
        new TunnelConnection(await OpenAsync(guest, name, "tunnel", port, cancellationToken));

    /// <summary>Opens the way of one client's datagrams (<c>POST /v1/agent/datagrams?port=</c> of the agent).</summary>
    public static async Task<DatagramLink> OpenDatagramsAsync(GuestClient guest, string name, int port, CancellationToken cancellationToken) =>
        new TunnelDatagrams(await OpenAsync(guest, name, "datagrams", port, cancellationToken));

    private static Task<GuestStream> OpenAsync(GuestClient guest, string name, string what, int port, CancellationToken cancellationToken) => GuestStream.OpenAsync(
        guest, name, string.Create(CultureInfo.InvariantCulture, $"v1/agent/{what}?port={port}"), ReadOnlyMemory<byte>.Empty, GuestClient.ConnectLimit, cancellationToken);

    private sealed class TunnelConnection(GuestStream tunnel) : Connection
    {
        public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken) => tunnel.Input.ReadAsync(buffer, cancellationToken);

        public override ValueTask WriteAsync(ReadOnlyMemory<byte> bytes, CancellationToken cancellationToken) => tunnel.WriteAsync(bytes, cancellationToken);

        public override ValueTask CompleteAsync(CancellationToken cancellationToken)
        {
            tunnel.Complete();
            return ValueTask.CompletedTask;
        }

        public override void Abort() => tunnel.Dispose();

        public override void Dispose() => tunnel.Dispose();
    }

    /// <summary>Each datagram behind its length, 2 bytes with the most significant one first.</summary>
    private sealed class TunnelDatagrams(GuestStream tunnel) : DatagramLink
    {
        private const int HeadBytes = 2;

        private readonly byte[] _head = new byte[HeadBytes];

        public override async ValueTask SendAsync(ReadOnlyMemory<byte> datagram, CancellationToken cancellationToken)
        {
            var framed = System.Buffers.ArrayPool<byte>.Shared.Rent(HeadBytes + datagram.Length);
            try
            {
                BinaryPrimitives.WriteUInt16BigEndian(framed, (ushort)datagram.Length);
                datagram.CopyTo(framed.AsMemory(HeadBytes));
                await tunnel.WriteAsync(framed.AsMemory(0, HeadBytes + datagram.Length), cancellationToken);
            }
            finally
            {
                System.Buffers.ArrayPool<byte>.Shared.Return(framed);
            }
        }

        public override async ValueTask<int> ReceiveAsync(Memory<byte> buffer, CancellationToken cancellationToken)
        {
            if (buffer.IsEmpty)
            {
                return await tunnel.Input.ReadAsync(buffer, cancellationToken);
            }

            await tunnel.Input.ReadExactlyAsync(_head, cancellationToken);
            var length = BinaryPrimitives.ReadUInt16BigEndian(_head);
            await tunnel.Input.ReadExactlyAsync(buffer[..length], cancellationToken);
            return length;
        }

        public override void Dispose() => tunnel.Dispose();
    }
}
