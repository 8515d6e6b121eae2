namespace Volant.Contracts.Api;

/// <summary>One line that a workload wrote, or a notice about lines that are missing (contract §2, logs; §9).</summary>
public sealed record LogLine
{
    /// <summary>Place in the log of one boot, <c>EPOCH.NUMBER</c>: what <c>Last-Event-ID</c> takes. Not every source has one.</summary>
    public string? Id { get; init; }

    /// <summary>VM name; absent where the address says it already.</summary>
    public string? Name { get; init; }

    /// <summary>One of <see cref="LogStreams"/>.</summary>
    public required string Stream { get; init; }

    /// <summary>The text without its line end. A line of more than 8 KiB arrives in pieces.</summary>
    public required string Line { get; init; }

    /// <summary>When the guest's agent read it, by the guest's clock.</summary>
    public required DateTimeOffset Timestamp { get; init; }
}

/// <summary>Values of <see cref="LogLine.Stream"/>.</summary>
public static class LogStreams
{
    /// <summary>Standard output of the workload.</summary>
    public const string Stdout = "stdout";

    /// <summary>Standard error of the workload.</summary>
    public const string Stderr = "stderr";

    /// <summary>Not the workload's: says that lines are missing. Passes every filter.</summary>
    public const string Notice = "notice";

    /// <summary>The serial console: the guest's kernel and agent, and the workload too. Only a filter, never the stream of a line.</summary>
    public const string Console = "console";
}

/// <summary>Data of the event <c>lost</c> in a stream of log lines: they were overwritten before the reader took them.</summary>
public sealed record LogGap
{
    /// <summary>How many lines are missing at this place.</summary>
    public required long Lost { get; init; }
}

/// <summary>Text frame of the console's WebSocket; what the guest writes comes in binary frames.</summary>
public sealed record ConsoleNotice
{
    /// <summary>One of <see cref="ConsoleNotices"/>.</summary>
    public required string Notice { get; init; }

    /// <summary>The same in a sentence.</summary>
    public required string Message { get; init; }
}

/// <summary>Values of <see cref="ConsoleNotice.Notice"/>.</summary>
public static class ConsoleNotices
{
    /// <summary>Input was dropped: another viewer is writing.</summary>
    public const string ReadOnly = "read_only";

    /// <summary>The viewer did not keep up and is cut off.</summary>
    public const string TooSlow = "too_slow";

    /// <summary>The VM ended.</summary>
    public const string Ended = "ended";
}

/// <summary>Where a browser runtime serves the DevTools protocol: answer of the agent's <c>GET /v1/devtools</c> (contract §9).</summary>
public sealed record DevToolsInfo
{
    /// <summary>Address inside the guest.</summary>
    public string? WebsocketUrl { get; init; }

    /// <summary>Path of the browser's WebSocket, absolute.</summary>
    public string? WebsocketPath { get; init; }

    /// <summary>TCP port inside the guest.</summary>
    public int? Port { get; init; }

    /// <summary>Version of the browser.</summary>
    public string? BrowserVersion { get; init; }

    /// <summary>User agent of the browser.</summary>
    public string? UserAgent { get; init; }

    /// <summary>Address of the DevTools server.</summary>
    public string? Address { get; init; }
}
