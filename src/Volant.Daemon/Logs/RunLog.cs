using System.Diagnostics.CodeAnalysis;
using System.Text.Json;
using Volant.Contracts;
using Volant.Contracts.Api;
using Volant.Daemon.Guests;

namespace Volant.Daemon.Logs;

/// <summary>Follows the agent's stream of lines during one run of a VM.</summary>
/// <remarks>
/// The stream is resumed by the id of the last line that was written down, so that neither a broken connection nor a new daemon repeats or
/// misses a line; lines that the guest could not keep so long are told as a notice. The guest is hostile: events, lines and ids are bounded.
/// </remarks>
[SuppressMessage("Design", "CA1001", Justification = "The source holds no handle and no timer, and may be cancelled as late as anyone likes.")]
internal sealed partial class RunLog(string name, LogHub hub, LogLease lease, GuestClient guest, TimeProvider clock, ILogger<LogCollector> logger)
{
    /// <summary>Longest line kept; the agent's own limit is lower.</summary>
    public const int MaxLineChars = 16 * 1024;

    private const int MaxIdChars = 64;
    private const string Path = "v1/logs/stream";

    private static readonly TimeSpan AnswerLimit = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan FirstPause = TimeSpan.FromMilliseconds(250);
    private static readonly TimeSpan LongestPause = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan DrainLimit = TimeSpan.FromMilliseconds(500);

    private readonly CancellationTokenSource _isOver = new();
    private readonly TaskCompletionSource _done = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private string? _lastId;
    private bool _hadStream;
    private bool _hasWriteProblem;

    /// <summary>Takes the rest of the stream once the hypervisor is gone; half a second at most.</summary>
    public async Task DrainAsync()
    {
        await _isOver.CancelAsync();
        try
        {
            await _done.Task.WaitAsync(DrainLimit, clock);
        }
        catch (TimeoutException)
        {
            // The channel does not notice that its guest is gone; there is nothing more to come.
        }
    }

    /// <summary>Follows until the run is over, or until the agent turns out to have no such stream.</summary>
    internal async Task FollowAsync(CancellationToken ended)
    {
        try
        {
            using (var snapshot = lease.Log.Open())
            {
                _lastId = snapshot.LastId();
            }

            await FollowUntilAsync(ended);
        }
        catch (Exception e)
        {
            LogGaveUp(e, name);
        }
        finally
        {
            lease.Dispose();
            _done.TrySetResult();
        }
    }

    private async Task FollowUntilAsync(CancellationToken ended)
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(ended, _isOver.Token);
        var pause = FirstPause;
        while (!stop.IsCancellationRequested)
        {
            var lastId = _lastId;
            try
            {
                if (!await FollowOnceAsync(stop.Token, ended))
                {
                    LogNoStream(name);
                    return;
                }
            }
            catch (OperationCanceledException) when (stop.IsCancellationRequested)
            {
                return;
            }
            catch (Exception e) when (e is HttpRequestException or IOException or OperationCanceledException or JsonException or ObjectDisposedException)
            {
                LogBroken(e, name);
            }

            // An agent that is still starting is asked often, one that failed less and less.
            pause = !_hadStream || lastId != _lastId ? FirstPause : TimeSpan.FromTicks(Math.Min(pause.Ticks * 2, LongestPause.Ticks));
            try
            {
                await Task.Delay(pause, clock, stop.Token);
            }
            catch (OperationCanceledException)
            {
                return;
            }
        }
    }

    /// <summary>One connection to its end; false when the agent has no such stream.</summary>
    private async Task<bool> FollowOnceAsync(CancellationToken stop, CancellationToken ended)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, new Uri(GuestClient.BaseAddress, Path));
        request.Headers.TryAddWithoutValidation("Accept", "text/event-stream");
        if (_lastId is not null)
        {
            request.Headers.TryAddWithoutValidation("Last-Event-ID", _lastId);
        }

        using var response = await SendAsync(request, stop);
        if ((int)response.StatusCode >= 500)
        {
            throw new IOException($"The agent answered {(int)response.StatusCode} to GET /{Path}.");
        }

        if (!response.IsSuccessStatusCode || response.Content.Headers.ContentType?.MediaType != "text/event-stream")
        {
            return false;
        }

        _hadStream = true;
        await using var body = await response.Content.ReadAsStreamAsync(ended);
        var reader = new EventStreamReader(body);
        var events = new List<StreamEvent>();
        while (await reader.ReadAsync(events, ended))
        {
            Keep(events);
            events.Clear();
        }

        return true;
    }

    private async Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken stop)
    {
        using var limit = new CancellationTokenSource(AnswerLimit, clock);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(limit.Token, stop);
        return await guest.Invoker.SendAsync(request, either.Token);
    }

    private void Keep(List<StreamEvent> events)
    {
        if (events.Count == 0)
        {
            return;
        }

        var lines = events.ConvertAll(Read);
        _lastId = lines.FindLast(line => line.Id is not null)?.Id ?? _lastId;
        var problem = lease.Log.Append(lines);
        hub.Publish(name, lines);
        if (problem is not null && !_hasWriteProblem)
        {
            LogNotWritten(problem, name);
        }

        _hasWriteProblem = problem is not null;
    }

    /// <exception cref="JsonException">It is no event of an agent.</exception>
    private LogLine Read(StreamEvent next)
    {
        if (next.Type == "lost")
        {
            var lost = JsonSerializer.Deserialize(next.Data, ContractsJson.Default.LogGap)?.Lost ?? 0;
            return new LogLine
            {
                Stream = LogStreams.Notice,
                Line = $"{lost} lines are missing here: the guest wrote them faster than they could be read.",
                Timestamp = clock.GetUtcNow(),
            };
        }

        var line = JsonSerializer.Deserialize(next.Data, ContractsJson.Default.LogLine) ?? throw new JsonException("null");
        return line with
        {
            Id = IsId(next.Id) ? next.Id : null,
            Name = null,
            Stream = line.Stream == LogStreams.Stderr ? LogStreams.Stderr : LogStreams.Stdout,
            Line = line.Line.Length > MaxLineChars ? line.Line[..MaxLineChars] : line.Line,
        };
    }

    private static bool IsId(string? id) => id is { Length: > 0 and <= MaxIdChars } && id.All(c => char.IsAsciiLetterOrDigit(c) || c == '.');

    [LoggerMessage(EventId = 1601, Level = LogLevel.Debug, Message = "The log stream of VM {Vm} broke off")]
    private partial void LogBroken(Exception exception, string vm);

    [LoggerMessage(EventId = 1602, Level = LogLevel.Information, Message = "The agent of VM {Vm} has no log stream; its log is what it writes to the console")]
    private partial void LogNoStream(string vm);

    [LoggerMessage(EventId = 1603, Level = LogLevel.Warning, Message = "The log of VM {Vm} could not be written; lines are missing in it until it can be")]
    private partial void LogNotWritten(Exception exception, string vm);

    [LoggerMessage(EventId = 1604, Level = LogLevel.Error, Message = "The log of VM {Vm} is no longer followed")]
    private partial void LogGaveUp(Exception exception, string vm);
}
