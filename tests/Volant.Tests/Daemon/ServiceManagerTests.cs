using System.Net.Sockets;
using System.Text;
using Volant.Daemon;

namespace Volant.Tests.Daemon;

public sealed class ServiceManagerTests
{
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_state_arrives_as_one_datagram(bool isAbstract)
    {
        var path = isAbstract ? $"@volant-{Guid.NewGuid():N}" : Path.Combine(Path.GetTempPath(), $"volant-{Guid.NewGuid():N}.sock");
        using var manager = new Socket(AddressFamily.Unix, SocketType.Dgram, ProtocolType.Unspecified);
        manager.Bind(new UnixDomainSocketEndPoint(isAbstract ? "\0" + path[1..] : path));
        try
        {
            Assert.True(ServiceManager.Tell(path, ServiceManager.Ready));

            var buffer = new byte[64];
            var length = await manager.ReceiveAsync(buffer, TestContext.Current.CancellationToken);
            Assert.Equal("READY=1", Encoding.ASCII.GetString(buffer, 0, length));
        }
        finally
        {
            File.Delete(path);
        }
    }

    [Theory]
    [InlineData(null)]
    [InlineData("/nonexistent/notify")]
    [InlineData("relative")]
    [InlineData("vsock:2:1234")]
    public void Where_nobody_listens_nothing_happens(string? socket) => Assert.False(ServiceManager.Tell(socket, ServiceManager.Stopping));

    [Fact]
    public void The_daemon_takes_the_socket_from_its_environment() =>
        Assert.Equal("/run/systemd/notify", DaemonEnvironment.Read(new Dictionary<string, string>(StringComparer.Ordinal) { ["NOTIFY_SOCKET"] = "/run/systemd/notify" }).NotifySocket);
}
