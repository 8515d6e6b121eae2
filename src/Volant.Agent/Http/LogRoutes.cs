using System.Buffers;
using System.Globalization;
using System.Text;
using System.Text.Json;
using Microsoft.AspNetCore.Http;
using Volant.Agent.Workloads;
using Volant.Contracts;
using Volant.Contracts.Api;

namespace Volant.Agent.Http;

/// <summary><c>/v1/logs</c> and <c>/v1/logs/stream</c>: what the workload wrote (contract §9).</summary>
/// <remarks>Source of the event stream: WHATWG HTML, section 9.2 (server-sent events).</remarks>
internal sealed class LogRoutes(OutputLog log, TimeProvider clock)
{
    /// <summary>Lines that <c>/v1/logs</c> gives when it is not asked for a number.</summary>
    public const int DefaultTail = 1000;

    /// <summary>Pause after which a stream without lines shows that it lives.</summary>
    public static readonly TimeSpan Heartbeat = TimeSpan.FromSeconds(15);

    private const int BatchLines = 256;
    private const string LineDocuments = "application/x-ndjson";

    /// <summary>The routes.</summary>
    public IEnumerable<AgentRoute> Routes => [new("GET", "/v1/logs", ListAsync), new("GET", "/v1/logs/stream", StreamAsync)];

    /// <summary>The kept lines as an array, or one JSON document per line when the caller accepts <c>application/x-ndjson</c>.</summary>
    /// <remarks>Query: <c>tail</c>, most lines; <c>since</c>, a time of RFC 3339 or the id of the last line seen.</remarks>
    public async Task ListAsync(HttpContext context)
    {
        if (!TryQuery(context, out var tail, out var after, out var since))
        {
            await Problems.WriteAsync(
                context, 400, ErrorCodes.InvalidRequest, $"'tail' must be a number from 0 to {OutputLog.MaxLines}, 'since' a time as in RFC 3339 or the id of a line.");
            return;
        }

        var lines = new OutputLine[OutputLog.MaxLines];
        var count = log.Read(after, lines, out _);
        var kept = lines.AsMemory(0, count).ToArray().Where(line => line.At >= since).TakeLast(tail).ToArray();
        var byLine = context.Request.Headers.Accept.ToString().Contains(LineDocuments, StringComparison.OrdinalIgnoreCase);
        context.Response.ContentType = byLine ? LineDocuments : "application/json";
        if (context.Request.Method == "HEAD")
        {
            return;
        }

        var text = new ArrayBufferWriter<byte>();
        var separator = byLine ? "\n"u8.ToArray() : ",\n"u8.ToArray();
        text.Write(byLine ? default : "["u8);
        for (var i = 0; i < kept.Length; i++)
        {
            text.Write(i > 0 ? separator : default);
            Write(text, kept[i], log.IdOf(kept[i].Sequence));
            if (text.WrittenCount > BatchLines * 1024)
            {
                await context.Response.Body.WriteAsync(text.WrittenMemory, context.RequestAborted);
                text.ResetWrittenCount();
            }
        }

        text.Write(!byLine ? "]\n"u8 : kept.Length > 0 ? "\n"u8 : default);
        await context.Response.Body.WriteAsync(text.WrittenMemory, context.RequestAborted);
    }

    /// <summary>Every kept line after <c>Last-Event-ID</c>, then each new one, until the caller leaves or the guest ends.</summary>
    /// <remarks>A line is an event of the default type; the event <c>lost</c> (<see cref="LogGap"/>) says how many are missing at its place.</remarks>
    public async Task StreamAsync(HttpContext context)
    {
        context.Response.ContentType = "text/event-stream";
        context.Response.Headers.CacheControl = "no-store";
        if (context.Request.Method == "HEAD")
        {
            return;
        }

        var after = log.SequenceOf(context.Request.Headers["Last-Event-ID"]);
        var lines = new OutputLine[BatchLines];
        var text = new ArrayBufferWriter<byte>();
        try
        {
            await context.Response.StartAsync(context.RequestAborted);
            while (true)
            {
                var count = log.Read(after, lines, out var lost);
                text.ResetWrittenCount();
                if (lost > 0)
                {
                    text.Write("event: lost\ndata: "u8);
                    text.Write(JsonSerializer.SerializeToUtf8Bytes(new LogGap { Lost = lost }, ContractsJson.Default.LogGap));
                    text.Write("\n\n"u8);
                }

                for (var i = 0; i < count; i++)
                {
                    after = lines[i].Sequence;
                    Encoding.ASCII.GetBytes($"id: {log.IdOf(after)}\ndata: ", text);
                    Write(text, lines[i], id: null);
                    text.Write("\n\n"u8);
                }

                if (count == 0)
                {
                    text.Write(": \n\n"u8);
                }

                await context.Response.Body.WriteAsync(text.WrittenMemory, context.RequestAborted);
                await context.Response.Body.FlushAsync(context.RequestAborted);
                if (!await WaitAsync(after, context.RequestAborted))
                {
                    return;
                }
            }
        }
        catch (OperationCanceledException)
        {
            // The caller left.
        }
    }

    /// <summary>False at the end of the log; true when there is a line or it is time for a heartbeat.</summary>
    private async Task<bool> WaitAsync(long after, CancellationToken cancellationToken)
    {
        using var pause = new CancellationTokenSource(Heartbeat, clock);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(pause.Token, cancellationToken);
        try
        {
            return await log.WaitAsync(after, either.Token);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            return true;
        }
    }

    private static void Write(ArrayBufferWriter<byte> text, OutputLine line, string? id)
    {
        using var json = new Utf8JsonWriter(text, new JsonWriterOptions { Encoder = ContractsJson.Readable.Options.Encoder, SkipValidation = true });
        JsonSerializer.Serialize(
            json,
            new LogLine
            {
                Id = id,
                Stream = line.IsError ? LogStreams.Stderr : LogStreams.Stdout,
                Line = Encoding.UTF8.GetString(line.Text.AsSpan()[..^1]),
                Timestamp = line.At,
            },
            ContractsJson.Readable.LogLine);
    }

    private bool TryQuery(HttpContext context, out int tail, out long after, out DateTimeOffset since)
    {
        tail = DefaultTail;
        after = 0;
        since = default;
        if (context.Request.Query["tail"] is [{ } number] &&
            (!int.TryParse(number, NumberStyles.None, CultureInfo.InvariantCulture, out tail) || tail > OutputLog.MaxLines))
        {
            return false;
        }

        if (context.Request.Query["since"] is not [{ } place])
        {
            return true;
        }

        after = log.SequenceOf(place);
        return after > 0 || DateTimeOffset.TryParse(place, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out since) || place.Contains('.', StringComparison.Ordinal);
    }
}
