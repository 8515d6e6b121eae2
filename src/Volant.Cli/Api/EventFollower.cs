using System.Net.ServerSentEvents;
using System.Runtime.CompilerServices;

namespace Volant.Cli.Api;

/// <summary>Reads a stream of server-sent events (WHATWG HTML, section 9.2) and takes it up again where it broke off.</summary>
/// <param name="connection">The daemon.</param>
/// <param name="clock">Measures pauses.</param>
/// <param name="say">Told, once each time, that the connection is lost or there again.</param>
internal sealed class EventFollower(DaemonConnection connection, TimeProvider clock, Action<string> say)
{
    /// <summary>How long the daemon may be away before it is given up.</summary>
    public static readonly TimeSpan Patience = TimeSpan.FromMinutes(2);

    // volantd sends something at least every 15 s.
    private static readonly TimeSpan MaxSilence = TimeSpan.FromSeconds(45);
    private static readonly TimeSpan FirstPause = TimeSpan.FromMilliseconds(200);
    private static readonly TimeSpan LongestPause = TimeSpan.FromSeconds(5);

    private string? _lastId;
    private CliException? _failure;

    /// <summary>The events of <paramref name="path"/>, heartbeats left out.</summary>
    /// <param name="path">Path and query, relative to the base; later requests ask with the id of the last event.</param>
    /// <param name="lastId">Id to go on after at first; null for none.</param>
    /// <param name="follow">Whether to connect again when the stream ends.</param>
    /// <param name="goesOn">Asked before that: whether there is anything left to follow.</param>
    /// <param name="cancellationToken">Cancelled by the user.</param>
    /// <exception cref="CliException">The daemon refuses, or is away for too long.</exception>
    public async IAsyncEnumerable<SseItem<string>> ReadAsync(
        string path, string? lastId, bool follow, Func<Task<bool>> goesOn, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        var lostAt = 0L;
        var pause = FirstPause;
        _lastId = lastId;
        while (true)
        {
            _failure = null;
            using (var response = await TryOpenAsync(path, isAgain: lostAt != 0, cancellationToken))
            {
                if (response is not null)
                {
                    if (lostAt != 0)
                    {
                        say("Connected again.");
                        (lostAt, pause) = (0, FirstPause);
                    }

                    await foreach (var item in ReadOnceAsync(response, cancellationToken))
                    {
                        yield return item;
                    }
                }
            }

            if (!follow || !await goesOn())
            {
                if (!follow && _failure is not null)
                {
                    throw _failure;
                }

                yield break;
            }

            if (lostAt == 0)
            {
                lostAt = clock.GetTimestamp();
                say("The connection to volantd is lost; trying again.");
            }
            else if (clock.GetElapsedTime(lostAt) > Patience)
            {
                throw _failure ?? connection.Unreachable("ends every stream at once", cause: null);
            }

            await Task.Delay(pause, clock, cancellationToken);
            pause = TimeSpan.FromTicks(Math.Min(pause.Ticks * 2, LongestPause.Ticks));
        }
    }

    /// <summary>Connects; the first time a failure is thrown, later it is remembered.</summary>
    private async Task<HttpResponseMessage?> TryOpenAsync(string path, bool isAgain, CancellationToken cancellationToken)
    {
        try
        {
            return await connection.OpenEventsAsync(path, _lastId, cancellationToken);
        }
        catch (CliException e) when (isAgain && e.ExitCode == ExitCodes.Unreachable)
        {
            _failure = e;
            return null;
        }
    }

    /// <summary>The events of one connection; how it broke off is remembered.</summary>
    private async IAsyncEnumerable<SseItem<string>> ReadOnceAsync(HttpResponseMessage response, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        await using var stream = new LimitedStream(await response.Content.ReadAsStreamAsync(cancellationToken), MaxSilence, clock);
        await using var events = SseParser.Create(stream).EnumerateAsync(cancellationToken).GetAsyncEnumerator(cancellationToken);
        while (true)
        {
            try
            {
                if (!await events.MoveNextAsync())
                {
                    yield break;
                }
            }
            catch (IOException e)
            {
                _failure = connection.Unreachable("broke the connection", e);
                yield break;
            }

            _lastId = events.Current.EventId ?? _lastId;
            yield return events.Current;
        }
    }

    /// <summary>The silence limit as a stream, for a parser.</summary>
    private sealed class LimitedStream(Stream inner, TimeSpan most, TimeProvider clock) : Stream
    {
        private readonly SilenceLimit _limit = new(inner, most, clock);

        public override bool CanRead => true;

        public override bool CanSeek => false;

        public override bool CanWrite => false;

        public override long Length => throw new NotSupportedException();

        public override long Position
        {
            get => throw new NotSupportedException();
            set => throw new NotSupportedException();
        }

        public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) => _limit.ReadAsync(buffer, cancellationToken);

        public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) => ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

        public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

        public override void Flush()
        {
        }

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();

        public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();

        protected override void Dispose(bool disposing)
        {
            _limit.Dispose();
            inner.Dispose();
            base.Dispose(disposing);
        }
    }
}
