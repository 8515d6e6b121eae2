using Volant.Linux.Processes;

namespace Volant.EndToEnd.Component;

/// <summary>Counts the live hypervisors among the daemon's children every 5 ms.</summary>
internal sealed class HypervisorWatch : IAsyncDisposable
{
    private static readonly TimeSpan Period = TimeSpan.FromMilliseconds(5);

    private readonly CancellationTokenSource _stop = new();
    private readonly Task _sampling;

    public HypervisorWatch(TestDaemon daemon) => _sampling = Task.Run(() => SampleAsync(daemon));

    /// <summary>Most at one instant.</summary>
    public int Most { get; private set; }

    /// <summary>How often they were counted.</summary>
    public int Samples { get; private set; }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _sampling;
        _stop.Dispose();
    }

    private async Task SampleAsync(TestDaemon daemon)
    {
        using var timer = new PeriodicTimer(Period, TimeProvider.System);
        while (!_stop.IsCancellationRequested)
        {
            // One that was seen first may have ended before the last was started: those count that are there when all were seen.
            var seen = Children(daemon.Pid).Where(IsHypervisor).ToList();
            Most = Math.Max(Most, seen.Count(IsHypervisor));
            Samples++;
            await timer.WaitForNextTickAsync(CancellationToken.None);
        }

        bool IsHypervisor(int pid) => ProcessIdentity.CommandLine(pid).Any(word => word.Contains(daemon.RuntimeDirectory, StringComparison.Ordinal));
    }

    /// <summary>A dead child that nobody waited for has no command line any more.</summary>
    private static IEnumerable<int> Children(int pid)
    {
        foreach (var task in Directory.EnumerateDirectories($"/proc/{pid}/task"))
        {
            string text;
            try
            {
                text = File.ReadAllText(Path.Combine(task, "children"));
            }
            catch (IOException)
            {
                // The thread has ended.
                continue;
            }

            foreach (var child in text.Split(' ', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries))
            {
                yield return int.Parse(child, System.Globalization.CultureInfo.InvariantCulture);
            }
        }
    }
}
