using System.Text.Json.Serialization;

namespace Volant.Contracts.Api;

/// <summary>A command for a guest: body of <c>POST /api/v1/vms/{name}/exec</c>, and first text frame of <c>GET /ws/v1/vms/{name}/exec</c> (contract §2).</summary>
/// <remarks>
/// <para>The command runs as its own session and process group. When the caller goes away, or the time is over, the group gets SIGHUP and,
/// <see cref="ExecRules.KillGraceMs"/> ms later, whatever is left of it SIGKILL.</para>
/// <para>The WebSocket: after the request the client sends binary frames <c>0 BYTES</c> (standard input; a frame of the channel byte alone is its
/// end, in a terminal Ctrl-D) and text frames <see cref="ExecControl"/>. The server sends binary frames <c>1 BYTES</c> (standard output, and
/// everything of a terminal) and <c>2 BYTES</c> (standard error), each of at most <see cref="ExecRules.MaxFrameBytes"/> bytes, and as the last one the
/// text frame <see cref="ExecEnd"/>, then it closes. Nothing is dropped: a side that does not read makes the other one wait, control frames included.</para>
/// </remarks>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed record ExecRequest
{
    /// <summary>Program and arguments; no shell. A program without a slash is looked up in PATH, one with a slash is relative to <see cref="Workdir"/>.</summary>
    public required IReadOnlyList<string> Command { get; init; }

    /// <summary>Environment variables, on top of the workload's own (and TERM=xterm-256color for a terminal).</summary>
    public IReadOnlyDictionary<string, string>? Env { get; init; }

    /// <summary>Absolute working directory; the workload's when absent.</summary>
    public string? Workdir { get; init; }

    /// <summary><c>USER</c> or <c>USER:GROUP</c>, each a name of the guest's /etc/passwd and /etc/group or a number; root when absent.</summary>
    public string? User { get; init; }

    /// <summary>Standard input as text; none when absent. POST only: a WebSocket has channel 0.</summary>
    public string? Stdin { get; init; }

    /// <summary>Time limit in milliseconds, 1 to <see cref="ExecRules.MaxTimeoutMs"/>. Absent: <see cref="ExecRules.DefaultTimeoutMs"/> for POST, none for a WebSocket.</summary>
    public int? TimeoutMs { get; init; }

    /// <summary>Whether the command gets a terminal, its controlling one. WebSocket only; false when absent.</summary>
    public bool? Tty { get; init; }

    /// <summary>Columns of the terminal, 1 to 1000; 80 when absent. Only with <see cref="Tty"/>.</summary>
    public int? Cols { get; init; }

    /// <summary>Rows of the terminal, 1 to 1000; 24 when absent. Only with <see cref="Tty"/>.</summary>
    public int? Rows { get; init; }
}

/// <summary>How a command ended: answer of <c>POST /api/v1/vms/{name}/exec</c>.</summary>
/// <remarks>A command that could not be started is the problem <c>exec_failed</c> (422), one that took too long <c>timeout</c> (504).</remarks>
public sealed record ExecResult
{
    /// <summary>Exit code; 128 + <see cref="Signal"/> when a signal ended it.</summary>
    public required int ExitCode { get; init; }

    /// <summary>Number of the signal that ended it.</summary>
    public int? Signal { get; init; }

    /// <summary>Standard output, at most <see cref="ExecRules.MaxOutputBytes"/> bytes. Where it is no UTF-8 it holds U+FFFD, see <see cref="StdoutBase64"/>.</summary>
    public required string Stdout { get; init; }

    /// <summary>Standard error, under the same rules.</summary>
    public required string Stderr { get; init; }

    /// <summary>The exact bytes of standard output as base64; only when they are no UTF-8.</summary>
    public string? StdoutBase64 { get; init; }

    /// <summary>The exact bytes of standard error as base64; only when they are no UTF-8.</summary>
    public string? StderrBase64 { get; init; }

    /// <summary>Whether a stream was cut: the command wrote more than <see cref="ExecRules.MaxOutputBytes"/>, or the guest had no memory for it. The rest was read and dropped.</summary>
    public required bool Truncated { get; init; }

    /// <summary>Milliseconds from start to end.</summary>
    public required long DurationMs { get; init; }
}

/// <summary>Text frame of a client on the exec WebSocket: one of its members.</summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed record ExecControl
{
    /// <summary>New size of the terminal; ignored without one.</summary>
    public TerminalSize? Resize { get; init; }

    /// <summary>Number of a signal for the command's process group, 1 to 64 (2 is SIGINT). In a terminal, for its foreground process group.</summary>
    public int? Signal { get; init; }
}

/// <summary>Size of a terminal.</summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed record TerminalSize
{
    /// <summary>Columns, 1 to 1000.</summary>
    public required int Cols { get; init; }

    /// <summary>Rows, 1 to 1000.</summary>
    public required int Rows { get; init; }
}

/// <summary>Last text frame of the server on the exec WebSocket: an exit code, or why there is none.</summary>
public sealed record ExecEnd
{
    /// <summary>Exit code; 128 + <see cref="Signal"/> when a signal ended it.</summary>
    public int? ExitCode { get; init; }

    /// <summary>Number of the signal that ended it.</summary>
    public int? Signal { get; init; }

    /// <summary>Why there is no exit code, in a sentence.</summary>
    public string? Error { get; init; }

    /// <summary>One of <see cref="ErrorCodes"/>, with <see cref="Error"/>: <c>invalid_request</c>, <c>exec_failed</c>, <c>timeout</c>, <c>agent_unreachable</c>, <c>unavailable</c>.</summary>
    public string? Code { get; init; }
}

/// <summary>First byte of a binary frame of the exec WebSocket.</summary>
public static class ExecChannels
{
    /// <summary>Standard input, from the client.</summary>
    public const byte Stdin = 0;

    /// <summary>Standard output, or the terminal.</summary>
    public const byte Stdout = 1;

    /// <summary>Standard error.</summary>
    public const byte Stderr = 2;
}

/// <summary>Limits and rules of <see cref="ExecRequest"/>. Pure; reports every fault at once.</summary>
public static class ExecRules
{
    /// <summary>Most bytes kept of each stream of a command that is waited for (1 MiB).</summary>
    public const int MaxOutputBytes = 1024 * 1024;

    /// <summary>Most bytes of a frame, channel byte included (64 KiB).</summary>
    public const int MaxFrameBytes = 64 * 1024;

    /// <summary>Time limit of a command that is waited for, when it names none: 60 s.</summary>
    public const int DefaultTimeoutMs = 60_000;

    /// <summary>Longest time limit: 24 h.</summary>
    public const int MaxTimeoutMs = 86_400_000;

    /// <summary>Time between SIGHUP and SIGKILL for a command that is ended.</summary>
    public const int KillGraceMs = 2_000;

    /// <summary>Most columns or rows of a terminal.</summary>
    public const int MaxTerminalSide = 1000;

    private const int MaxWords = 4096;
    private const int MaxVariables = 1024;

    /// <summary>Returns every broken rule; empty when the request is valid.</summary>
    /// <param name="request">The request.</param>
    /// <param name="isInteractive">Whether it came over a WebSocket.</param>
    public static IReadOnlyList<FieldError> Validate(ExecRequest request, bool isInteractive)
    {
        ArgumentNullException.ThrowIfNull(request);
        var faults = new FaultList();
        faults.Require(request.Command is { Count: > 0 and <= MaxWords }, "command", "must be a program and at most 4095 arguments");
        faults.Require(request.Command is null or [{ Length: > 0 }, ..], "command[0]", "must name a program");
        faults.Require(request.Command?.All(IsText) ?? true, "command", "must be words without a NUL character");
        faults.Require(request.Env is null or { Count: <= MaxVariables }, "env", "must be at most 1024 variables");
        foreach (var (name, value) in request.Env ?? new Dictionary<string, string>(StringComparer.Ordinal))
        {
            faults.Require(name.Length > 0 && !name.AsSpan().ContainsAny('=', '\0') && IsText(value), $"env.{name}", "must be a name without '=' and a value without NUL");
        }

        faults.Require(request.Workdir is null || (request.Workdir.StartsWith('/') && IsText(request.Workdir)), "workdir", "must be an absolute path");
        faults.Require(request.User is null || UserText.IsValid(request.User), "user", UserText.Rule);
        faults.Range("timeout_ms", request.TimeoutMs ?? 1, 1, MaxTimeoutMs);
        faults.Require(isInteractive || request.Tty is not true, "tty", "needs the WebSocket /ws/v1/vms/NAME/exec");
        faults.Require(!isInteractive || request.Stdin is null, "stdin", "travels in binary frames with the channel byte 0 here");
        var isTerminal = request.Tty is true;
        faults.Require(isTerminal || request.Cols is null, "cols", "needs 'tty'");
        faults.Require(isTerminal || request.Rows is null, "rows", "needs 'tty'");
        faults.Range("cols", request.Cols ?? 1, 1, MaxTerminalSide);
        faults.Range("rows", request.Rows ?? 1, 1, MaxTerminalSide);
        return faults.All;
    }

    /// <summary>Returns every broken rule of a control frame; empty when it is valid.</summary>
    public static IReadOnlyList<FieldError> Validate(ExecControl control)
    {
        ArgumentNullException.ThrowIfNull(control);
        var faults = new FaultList();
        faults.Require((control.Resize is null) != (control.Signal is null), "$", "must have either 'resize' or 'signal'");
        faults.Range("signal", control.Signal ?? 1, 1, 64);
        faults.Range("resize.cols", control.Resize?.Cols ?? 1, 1, MaxTerminalSide);
        faults.Range("resize.rows", control.Resize?.Rows ?? 1, 1, MaxTerminalSide);
        return faults.All;
    }

    private static bool IsText(string? text) => text is not null && !text.Contains('\0', StringComparison.Ordinal);
}

/// <summary>A user of the guest as text: <c>USER</c> or <c>USER:GROUP</c>.</summary>
public static class UserText
{
    /// <summary>The rule in words.</summary>
    public const string Rule = "must be USER or USER:GROUP, each a number or a name of up to 32 letters, digits, '-', '_' and '.'";

    private const int MaxName = 32;

    /// <summary>Whether a text names a user and perhaps a group; whether they exist only the guest knows.</summary>
    public static bool IsValid(string? text) => text?.Split(':') is [var user] ? IsName(user) : text?.Split(':') is [var name, var group] && IsName(name) && IsName(group);

    private static bool IsName(string text) =>
        text.Length is > 0 and <= MaxName && text[0] is not ('-' or '.') && text.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_' or '.') &&
        (!char.IsAsciiDigit(text[0]) || (uint.TryParse(text, System.Globalization.NumberStyles.None, System.Globalization.CultureInfo.InvariantCulture, out var id) && id != uint.MaxValue));
}
