using System.Collections.Concurrent;
using System.Globalization;
using System.Text.Json;
using Volant.Contracts;
using Volant.Contracts.Api;

namespace Volant.EndToEnd.Component;

/// <summary>An event as it arrived.</summary>
/// <param name="Id">Its number.</param>
/// <param name="Type">Its type, or <c>gap</c>.</param>
/// <param name="Event">The event; null for a gap.</param>
/// <param name="At">When it arrived, as <see cref="TimeProvider.GetTimestamp"/> gives it.</param>
internal sealed record Arrival(long Id, string Type, VmEvent? Event, long At);

/// <summary>A client of <c>/api/v1/events/vms</c>.</summary>
internal sealed class EventFeed : IAsyncDisposable
{
    private readonly HttpResponseMessage _response;
    private readonly StreamReader _reader;
    private readonly ConcurrentQueue<Arrival> _arrived = new();
    private readonly CancellationTokenSource _ended = new();
    private readonly Task _reading;

    private EventFeed(HttpResponseMessage response, StreamReader reader)
    {
        _response = response;
        _reader = reader;
        _reading = ReadAsync();
    }

    public IReadOnlyList<Arrival> Arrived => [.. _arrived];

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    /// <summary>Subscribes; with the number of the last event that was seen it resumes.</summary>
    public static async Task<EventFeed> OpenAsync(TestDaemon daemon, long? after = null)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, "/api/v1/events/vms");
        if (after is { } last)
        {
            request.Headers.Add("Last-Event-ID", last.ToString(CultureInfo.InvariantCulture));
        }

        var response = await daemon.Client.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, Cancel);
        Assert.True(response.IsSuccessStatusCode, $"{response.StatusCode}");
        return new EventFeed(response, new StreamReader(await response.Content.ReadAsStreamAsync(Cancel)));
    }

    /// <summary>The first arrival that is as wanted; waits for it.</summary>
    public async Task<Arrival> FirstAsync(Func<Arrival, bool> wanted, int seconds = 30)
    {
        var started = TimeProvider.System.GetTimestamp();
        while (true)
        {
            if (_arrived.FirstOrDefault(wanted) is { } found)
            {
                return found;
            }

            Assert.True(TimeProvider.System.GetElapsedTime(started).TotalSeconds < seconds, $"no such event; there were {string.Join(", ", Arrived.Select(arrival => $"{arrival.Id} {arrival.Type} {arrival.Event?.Name}"))}");
            await Task.Delay(TimeSpan.FromMilliseconds(2), TimeProvider.System, Cancel);
        }
    }

    public async ValueTask DisposeAsync()
    {
        // A response that is disposed while it is read can make the read fail by a null reference of its own.
        await _ended.CancelAsync();
        await _reading;
        _reader.Dispose();
        _response.Dispose();
        _ended.Dispose();
    }

    private async Task ReadAsync()
    {
        var (id, type) = (0L, string.Empty);
        try
        {
            while (await _reader.ReadLineAsync(_ended.Token) is { } line)
            {
                if (line.StartsWith("id: ", StringComparison.Ordinal))
                {
                    id = long.Parse(line[4..], CultureInfo.InvariantCulture);
                }
                else if (line.StartsWith("event: ", StringComparison.Ordinal))
                {
                    type = line[7..];
                }
                else if (line.StartsWith("data: ", StringComparison.Ordinal))
                {
                    _arrived.Enqueue(new Arrival(id, type, type == "gap" ? null : JsonSerializer.Deserialize(line[6..], ContractsJson.Default.VmEvent), TimeProvider.System.GetTimestamp()));
                }
            }
        }
        catch (Exception e) when (e is IOException or HttpRequestException or ObjectDisposedException or OperationCanceledException)
        {
            // The daemon, or the test, has ended it.
        }
    }
}
