using System.Buffers.Binary;
using System.Globalization;
using Volant.Daemon.Guests;
using Volant.Daemon.Publishing;

namespace Volant.Daemon.Orchestration;

/// <summary>Reaches ports on a guest's loopback by the guest channel.</summary>
internal static class GuestTunnels
{
    /// <summary>Opens a TCP connection (<c>POST /v1/agent/tunnel?port=</c> of the agent).</summary>
    public static async Task<Connection> ConnectAsync(GuestClient guest, int port, CancellationToken cancellationToken) =>
        new TunnelConnection(await guest.OpenTunnelAsync(string.Create(CultureInfo.InvariantCulture, $"v1/agent/tunnel?port={port}"), cancellationToken));

    /// <summary>Opens the way of one client's datagrams (<c>POST /v1/agent/datagrams?port=</c> of the agent).</summary>
    public static async Task<DatagramLink> OpenDatagramsAsync(GuestClient guest, int port, CancellationToken cancellationToken) =>
        new TunnelDatagrams(await guest.OpenTunnelAsync(string.Create(CultureInfo.InvariantCulture, $"v1/agent/datagrams?port={port}"), cancellationToken));

    private sealed class TunnelConnection(GuestTunnel tunnel) : Connection
    {
        public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken) => tunnel.Output.ReadAsync(buffer, cancellationToken);

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
    private sealed class TunnelDatagrams(GuestTunnel tunnel) : DatagramLink
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
                return await tunnel.Output.ReadAsync(buffer, cancellationToken);
            }

            await tunnel.Output.ReadExactlyAsync(_head, cancellationToken);
            var length = BinaryPrimitives.ReadUInt16BigEndian(_head);
            await tunnel.Output.ReadExactlyAsync(buffer[..length], cancellationToken);
            return length;
        }

        public override void Dispose() => tunnel.Dispose();
    }
}
