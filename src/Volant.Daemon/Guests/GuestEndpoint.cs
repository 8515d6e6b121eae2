using System.Net;

namespace Volant.Daemon.Guests;

/// <summary>Where the host reaches the agent of a guest.</summary>
internal abstract record GuestEndpoint
{
    private GuestEndpoint()
    {
    }

    /// <summary>A virtio-serial port behind a Unix socket of the hypervisor, see <see cref="Contracts.Boot.GuestLink"/>.</summary>
    /// <param name="SocketPath">Socket, which serves one connection at a time.</param>
    /// <param name="Key">Secret that host and guest share, <see cref="Contracts.Boot.GuestLink.KeyLength"/> bytes; the guest learns it from the first connection.</param>
    internal sealed record SerialPort(string SocketPath, ReadOnlyMemory<byte> Key) : GuestEndpoint
    {
        /// <inheritdoc/>
        public override string ToString() => $"the virtio-serial port behind '{SocketPath}'";
    }

    /// <summary>The kernel's vsock.</summary>
    /// <param name="Cid">Context id of the guest.</param>
    /// <param name="Port">Port in the guest.</param>
    internal sealed record Vsock(long Cid, int Port) : GuestEndpoint
    {
        /// <inheritdoc/>
        public override string ToString() => $"vsock {Cid}:{Port}";
    }

    /// <summary>Vsock behind a Unix socket, as Cloud Hypervisor and Firecracker offer it.</summary>
    /// <param name="SocketPath">Socket of the hypervisor.</param>
    /// <param name="Port">Port in the guest.</param>
    internal sealed record HybridVsock(string SocketPath, int Port) : GuestEndpoint
    {
        /// <inheritdoc/>
        public override string ToString() => $"vsock port {Port} behind '{SocketPath}'";
    }

    /// <summary>TCP over the guest's network.</summary>
    /// <param name="Address">Address of the guest.</param>
    /// <param name="Port">Port of the agent.</param>
    internal sealed record Tcp(IPAddress Address, int Port) : GuestEndpoint
    {
        /// <inheritdoc/>
        public override string ToString() => $"{new IPEndPoint(Address, Port)}";
    }
}
