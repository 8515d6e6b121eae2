using System.Globalization;
using System.Net;
using Volant.Agent.Http;
using Volant.Contracts.Manifests;

namespace Volant.Agent.Workloads;

/// <summary>Finds out whether the workload is ready, as the manifest's health check says; without one it is when its address accepts a connection, or when it runs.</summary>
/// <param name="target">The workload; null when it serves no HTTP.</param>
/// <param name="check">The health check.</param>
/// <param name="run">Runs the command of a health check: null when it exits with 0, else what it did instead. Ends it when cancelled.</param>
/// <param name="clock">Clock of pauses and limits.</param>
internal sealed class HealthProbe(WorkloadTarget? target, HealthCheck? check, Func<IReadOnlyList<string>, CancellationToken, Task<string?>> run, TimeProvider clock)
{
    private const int DefaultTimeoutMs = 2000;
    private const int MaxDrained = 64 * 1024;

    private static readonly TimeSpan FirstPause = TimeSpan.FromMilliseconds(50);
    private static readonly TimeSpan LongestPause = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan HealthyPause = TimeSpan.FromSeconds(5);

    private readonly WorkloadTarget? _connect = check?.Port is { } port ? At(port) : target;

    private string Name => check switch
    {
        { Endpoint: { } endpoint } => $"GET {target?.BasePath}{endpoint}",
        { Command: { } command } => $"'{string.Join(' ', command)}'",
        _ => $"connect {_connect?.Address}",
    };

    /// <summary>Probes until cancelled, every 50 ms to 1 s while it fails and every 5 s while it passes.</summary>
    /// <param name="report">Is told the outcome of each probe, see <see cref="ProbeAsync"/>.</param>
    /// <param name="cancellationToken">Ends the watch without an exception.</param>
    public async Task WatchAsync(Action<string?> report, CancellationToken cancellationToken)
    {
        var pause = FirstPause;
        try
        {
            while (true)
            {
                var problem = await ProbeAsync(cancellationToken);
                cancellationToken.ThrowIfCancellationRequested();
                report(problem);
                await Task.Delay(problem is null ? HealthyPause : pause, clock, cancellationToken);
                var longer = TimeSpan.FromTicks(pause.Ticks * 5 / 4);
                pause = problem is null ? FirstPause : longer < LongestPause ? longer : LongestPause;
            }
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            // The run of the workload is over.
        }
    }

    /// <summary>Probes once; null when the workload is healthy, else why it is not.</summary>
    public async Task<string?> ProbeAsync(CancellationToken cancellationToken)
    {
        var timeout = TimeSpan.FromMilliseconds(check?.TimeoutMs ?? DefaultTimeoutMs);
        using var limit = new CancellationTokenSource(timeout, clock);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(limit.Token, cancellationToken);
        try
        {
            if (check?.Command is { } command)
            {
                return await run(command, either.Token) is { } outcome ? $"The health check {Name} {outcome}." : null;
            }

            if (_connect is null)
            {
                return null;
            }

            using var connection = await WorkloadConnection.OpenAsync(_connect, clock, either.Token);
            return check?.Endpoint is { } endpoint ? await GetAsync(connection, _connect, endpoint, either.Token) : null;
        }
        catch (OperationCanceledException)
        {
            return $"The health check {Name} did not answer within {timeout.TotalMilliseconds} ms.";
        }
        catch (IOException e)
        {
            return $"The health check {Name} failed: {e.Message}";
        }
    }

    private static WorkloadTarget At(int port)
    {
        var address = new IPEndPoint(IPAddress.Loopback, port);
        return new WorkloadTarget(address, address.ToString(), string.Empty);
    }

    private async Task<string?> GetAsync(WorkloadConnection connection, WorkloadTarget to, string endpoint, CancellationToken cancellationToken)
    {
        var request = $"GET {to.BasePath}{endpoint} HTTP/1.1\r\nHost: {to.Authority}\r\nUser-Agent: kestrel\r\nAccept: */*\r\nConnection: close\r\n\r\n";
        await connection.WriteAsync(System.Text.Encoding.UTF8.GetBytes(request), cancellationToken);
        var head = await connection.ReadHeadAsync(cancellationToken);
        if (head.Status is < 200 or > 399)
        {
            return string.Create(CultureInfo.InvariantCulture, $"The health check {Name} answered {head.Status}.");
        }

        // Hanging up in the middle of an answer fills the workload's log with complaints.
        var body = connection.Body(head, "GET");
        var buffer = new byte[4096];
        for (var total = 0; total < MaxDrained;)
        {
            var count = await body.ReadAsync(buffer, cancellationToken);
            if (count == 0)
            {
                break;
            }

            total += count;
        }

        return null;
    }
}
