using Volant.Linux.Processes;

namespace Volant.Tests.Linux;

/// <summary>Programs that may make few sockets. A kind that may be made fails because nobody listens, any other at once.</summary>
public sealed class SocketFilterTests
{
    private const string Socat = "/usr/bin/socat";
    private const string Refused = "Address family not supported by protocol";

    [Theory]
    [InlineData(SocketAccess.All, "TCP4:127.0.0.1:1", "Connection refused")]
    [InlineData(SocketAccess.Local, "TCP4:127.0.0.1:1", Refused)]
    [InlineData(SocketAccess.LocalAndDatagrams, "TCP4:127.0.0.1:1", Refused)]
    [InlineData(SocketAccess.Local, "TCP6:[::1]:1", Refused)]
    [InlineData(SocketAccess.Local, "VSOCK-CONNECT:1:1", Refused)]
    [InlineData(SocketAccess.LocalAndDatagrams, "VSOCK-CONNECT:1:1", Refused)]
    [InlineData(SocketAccess.Local, "UNIX-CONNECT:/nonexistent/socket", "No such file or directory")]
    [InlineData(SocketAccess.LocalAndDatagrams, "UNIX-CONNECT:/nonexistent/socket", "No such file or directory")]
    [InlineData(SocketAccess.Local, "UDP4:127.0.0.1:1", Refused)]
    [InlineData(SocketAccess.LocalAndDatagrams, "UDP4:127.0.0.1:1", null)]
    public async Task A_program_makes_only_the_sockets_that_it_may(SocketAccess access, string address, string? fault)
    {
        Assert.SkipUnless(File.Exists(Socat), $"needs {Socat} (scripts/deps.sh test)");
        using var directory = new TemporaryDirectory();
        var output = Path.Combine(directory.Path, "output");

        var pid = ProcessSpawner.Spawn(new SpawnRequest { Arguments = [Socat, "-u", "OPEN:/dev/null", address], OutputFile = output, NoNewPrivileges = true, Sockets = access });
        var exit = await ProcessExitWatcher.WaitForChildAsync(pid, 9, TestContext.Current.CancellationToken);
        var said = await File.ReadAllTextAsync(output, TestContext.Current.CancellationToken);

        Assert.True(exit.ExitCode == (fault is null ? 0 : 1), said);
        Assert.Contains(fault ?? string.Empty, said, StringComparison.Ordinal);
    }
}
