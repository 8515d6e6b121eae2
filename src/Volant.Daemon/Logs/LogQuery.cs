using Volant.Contracts.Api;

namespace Volant.Daemon.Logs;

/// <summary>Which lines of a log are wanted.</summary>
internal sealed record LogQuery
{
    /// <summary>Most lines of what is already there.</summary>
    public const int MaxTail = 10_000;

    /// <summary>Most lines of what is already there, 0 to <see cref="MaxTail"/>.</summary>
    public int Tail { get; init; } = 1000;

    /// <summary>One of <see cref="LogStreams"/>; null for all of the workload's.</summary>
    public string? Stream { get; init; }

    /// <summary>No lines before this moment of the guest's clock.</summary>
    public DateTimeOffset? Since { get; init; }

    /// <summary>Only lines after the one with this id, if it is still there.</summary>
    public string? AfterId { get; init; }

    /// <summary>Whether every line is wanted.</summary>
    public bool IsOpen => Stream is null && Since is null && AfterId is null;

    /// <summary>Whether a line passes; its place in the log is not looked at.</summary>
    public bool Matches(LogLine line) =>
        (Stream is null || line.Stream == Stream || line.Stream == LogStreams.Notice) && (Since is null || line.Timestamp >= Since);
}
