namespace Volant.Daemon.Api;

/// <summary>Writes server-sent events until their source or the client ends.</summary>
/// <remarks>Source: WHATWG HTML, section 9.2 (server-sent events).</remarks>
internal static class ServerSentEvents
{
    private static readonly TimeSpan Heartbeat = TimeSpan.FromSeconds(15);

    /// <summary>Answers with a stream; a comment is sent every 15 s.</summary>
    /// <param name="context">The request.</param>
    /// <param name="first">What is sent at once: a frame, or a comment.</param>
    /// <param name="source">What follows.</param>
    /// <param name="frame">The frame of one item.</param>
    /// <param name="clock">Times the heartbeat.</param>
    /// <param name="stop">Ends the stream; cancelled at its end.</param>
    public static async Task WriteAsync<T>(HttpContext context, string first, IAsyncEnumerable<T> source, Func<T, string> frame, TimeProvider clock, CancellationTokenSource stop)
    {
        var events = source.GetAsyncEnumerator(stop.Token);
        var next = Task.FromResult(false);
        context.Response.ContentType = "text/event-stream";
        context.Response.Headers.CacheControl = "no-store";
        try
        {
            // Begun before the client is told that it is connected: from then on it misses nothing.
            next = events.MoveNextAsync().AsTask();
            await context.Response.WriteAsync(first, stop.Token);
            await context.Response.Body.FlushAsync(stop.Token);
            while (true)
            {
                if (!next.IsCompleted && await Task.WhenAny(next, Task.Delay(Heartbeat, clock, stop.Token)) != next)
                {
                    stop.Token.ThrowIfCancellationRequested();
                    await context.Response.WriteAsync(": heartbeat\n\n", stop.Token);
                }
                else if (await next)
                {
                    await context.Response.WriteAsync(frame(events.Current), stop.Token);
                    next = events.MoveNextAsync().AsTask();
                    if (next.IsCompleted)
                    {
                        continue;
                    }
                }
                else
                {
                    return;
                }

                await context.Response.Body.FlushAsync(stop.Token);
            }
        }
        catch (OperationCanceledException)
        {
            // The client left, or the daemon stops: the stream ends here.
        }
        finally
        {
            // An enumerator may only be disposed of between two steps: the step under way is ended first.
            await stop.CancelAsync();
            await ((Task)next).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            await events.DisposeAsync();
        }
    }
}
