using System.Net.Sockets;
using System.Text;

namespace Volant.EndToEnd;

/// <summary>The programs as a systemd service runs them: a user without rights, ambient capabilities, a socket for notices.</summary>
public sealed class ServiceTests
{
    private const string AsService = "/usr/bin/setpriv";
    private const uint Nobody = 65534;

    [Fact]
    public async Task The_service_manager_is_told_when_the_API_answers_and_when_the_end_begins()
    {
        var path = Path.Combine(Path.GetTempPath(), $"vt-notify-{Guid.NewGuid():N}");
        using var manager = new Socket(AddressFamily.Unix, SocketType.Dgram, ProtocolType.Unspecified);
        manager.Bind(new UnixDomainSocketEndPoint(path));
        try
        {
            await using var daemon = new TestDaemon(new Dictionary<string, string>(StringComparer.Ordinal) { ["NOTIFY_SOCKET"] = path });
            await daemon.StartAsync();
            Assert.Equal("READY=1", await ReceiveAsync());

            await daemon.EndAsync(15);
            Assert.Equal("STOPPING=1", await ReceiveAsync());
        }
        finally
        {
            File.Delete(path);
        }

        async Task<string> ReceiveAsync()
        {
            var buffer = new byte[64];
            using var limit = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
            limit.CancelAfter(TimeSpan.FromSeconds(20));
            return Encoding.ASCII.GetString(buffer, 0, await manager.ReceiveAsync(buffer, limit.Token));
        }
    }

    /// <summary>A hypervisor must not configure the host's network because its daemon may.</summary>
    [Fact]
    public async Task A_program_that_is_started_has_none_of_the_services_capabilities()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess && File.Exists(AsService), $"needs root and {AsService}");
        var directory = Directory.CreateTempSubdirectory("vt-caps-").FullName;
        try
        {
            File.SetUnixFileMode(directory, (UnixFileMode)0b111_101_101);
            var fledge = Path.Combine(directory, "fledge");
            await File.WriteAllTextAsync(fledge + ".text", "#!/bin/sh\ngrep -E '^Cap(Eff|Amb|Prm)' /proc/self/status >&2\nexit 1\n", TestContext.Current.CancellationToken);
            await Workspace.InstallAsync(fledge + ".text", fledge);
            await Workspace.InstallAsync(Workspace.Program("volar"), Path.Combine(directory, "volar"));

            var result = await Command.RunAsync(
                [AsService, $"--reuid={Nobody}", "--clear-groups", "--inh-caps=+net_admin", "--ambient-caps=+net_admin", Path.Combine(directory, "volar"), "run", "web"],
                environment: new Dictionary<string, string>(StringComparer.Ordinal) { ["VOLANT_FLEDGE"] = fledge, ["HOME"] = directory, ["XDG_CACHE_HOME"] = "/nonexistent" });

            foreach (var set in new[] { "CapPrm", "CapEff", "CapAmb" })
            {
                Assert.Contains($"{set}:\t0000000000000000", result.Error.Replace(' ', '\t'), StringComparison.Ordinal);
            }
        }
        finally
        {
            Directory.Delete(directory, recursive: true);
        }
    }
}
