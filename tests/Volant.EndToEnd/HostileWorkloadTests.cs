using Volant.Contracts.Api;
using Volant.EndToEnd.Component;

namespace Volant.EndToEnd;

/// <summary>A workload that does what it can to silence the agent beside it.</summary>
public sealed class HostileWorkloadTests(Workspace workspace)
{
    private const long MostResident = 48 << 20;

    // Writes without end, and takes no signal that can be refused.
    private const string Flood = "trap '' HUP INT QUIT TERM USR1 USR2 PIPE; exec /bin/busybox awk 'BEGIN { while (1) print \"line \" n++ }'";

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task The_agent_answers_throughout_says_what_is_wrong_and_ends_the_guest_in_order()
    {
        await using var guest = await BoxGuest.StartAsync(Path.Combine(workspace.Directory, "hostile"), Flood);
        await FloodAsync(guest);
        await FillAsync(guest);
        await ForkAsync(guest);
        await StopAsync(guest);
    }

    /// <summary>Lines as fast as the guest can write them: followers get them, with what they missed counted, and commands still run.</summary>
    private static async Task FloodAsync(BoxGuest guest)
    {
        using var response = await guest.Daemon.Client.GetAsync($"{BoxGuest.Vm}/agent/v1/logs/stream", HttpCompletionOption.ResponseHeadersRead, Cancel);
        using var reader = new StreamReader(await response.Content.ReadAsStreamAsync(Cancel));
        var (last, enough) = (0L, StandIn.Extent(20_000, 100_000));
        while (last < enough)
        {
            var line = await reader.ReadLineAsync(Cancel) ?? throw new IOException($"The log ended at line {last}.");
            if (line.StartsWith("id: ", StringComparison.Ordinal))
            {
                var number = long.Parse(line[(line.IndexOf('.', StringComparison.Ordinal) + 1)..]);
                Assert.True(number > last, $"{number} came after {last}");
                last = number;
            }
        }

        Assert.Equal("up\n", await guest.RunAsync("echo up"));
        Assert.True((await guest.Daemon.FindAsync("box"))!.Ready);
        var metrics = await guest.MeasureAsync();
        Assert.InRange(metrics.Agent.ResidentBytes, 1, MostResident);
    }

    /// <summary>Every file system full, by the host's hand and by the guest's own.</summary>
    private static async Task FillAsync(BoxGuest guest)
    {
        using var put = await guest.Daemon.Client.PutAsync($"{BoxGuest.Vm}/files?path=/tmp/full", new ByteArrayContent(new byte[200 << 20]), Cancel);
        var problem = await guest.Daemon.ProblemAsync(put, 507);
        Assert.Equal(ErrorCodes.DiskFull, problem.Code);
        Assert.Equal("absent\n", await guest.RunAsync("test -e /tmp/full || echo absent"));

        // More than there is memory, whichever limit ends it first: that of a file system, or that of memory.
        _ = await guest.TryAsync("for place in /tmp /dev/shm /run /; do dd if=/dev/zero of=$place/fill bs=1M 2>/dev/null; done; true");
        var metrics = await guest.MeasureAsync();
        Assert.True(metrics.Memory.AvailableBytes < metrics.Memory.TotalBytes / 4, $"{metrics.Memory}");
        Assert.True((await guest.Daemon.FindAsync("box"))!.Status == VmStatus.Running, guest.Daemon.Logs());
        Assert.Equal(204, await DeleteAsync(guest, "/tmp/fill"));
        Assert.Equal(204, await DeleteAsync(guest, "/dev/shm/fill"));
        Assert.Equal("room\n", await guest.RunAsync("rm -f /run/fill /fill; echo room > /tmp/room; cat /tmp/room"));
    }

    /// <summary>Forks without end: a limit, of processes or of memory, is reached and told, and a command gets a clear answer.</summary>
    private static async Task ForkAsync(BoxGuest guest)
    {
        var killed = (await guest.MeasureAsync()).Workload!.OutOfMemoryKills;
        await guest.DetachAsync("trap \"\" HUP TERM; while :; do sleep 1000 & done");
        var metrics = await guest.UntilAsync(metrics => metrics.Workload is { } workload && (workload.ForksRefused > 0 || workload.OutOfMemoryKills > killed));
        Assert.True(metrics.Workload!.ProcessLimit > 0, $"{metrics.Workload}");
        using var answer = await guest.SendAsync("echo in between");
        var text = await answer.Content.ReadAsStringAsync(Cancel);
        Assert.True(answer.IsSuccessStatusCode || text.Contains("\"code\"", StringComparison.Ordinal), text);
        Assert.InRange((await guest.MeasureAsync()).Agent.ResidentBytes, 1, MostResident);
    }

    /// <summary>All of it still goes on; the guest ends by itself, not because the host lost patience.</summary>
    private static async Task StopAsync(BoxGuest guest)
    {
        using var stop = await guest.Daemon.PostAsync($"{BoxGuest.Vm}/stop?grace_seconds=100");
        Assert.True(stop.IsSuccessStatusCode, await stop.Content.ReadAsStringAsync(Cancel));

        var vm = (await guest.Daemon.FindAsync("box"))!;
        Assert.Equal((VmStatus.Stopped, "stopped on request; the guest powered off"), (vm.Status, vm.Exit!.Reason));
        var console = await File.ReadAllTextAsync(Directory.GetFiles(guest.Daemon.LogDirectory, "console.log", SearchOption.AllDirectories).Single(), Cancel);
        Assert.Contains("kestrel: power off", console, StringComparison.Ordinal);
    }

    private static async Task<int> DeleteAsync(BoxGuest guest, string path)
    {
        using var response = await guest.Daemon.Client.DeleteAsync($"{BoxGuest.Vm}/files?path={path}", Cancel);
        return (int)response.StatusCode;
    }
}
