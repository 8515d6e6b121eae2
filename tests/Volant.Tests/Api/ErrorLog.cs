using System.Collections.Concurrent;
using Microsoft.Extensions.Logging;

namespace Volant.Tests.Api;

/// <summary>Keeps what the daemon logs as an error, so that a test can say that there was none, or print it.</summary>
internal sealed class ErrorLog : ILoggerProvider, ILogger
{
    /// <summary>The errors, each with its exception.</summary>
    public ConcurrentQueue<string> Errors { get; } = [];

    public ILogger CreateLogger(string categoryName) => this;

    public IDisposable? BeginScope<TState>(TState state)
        where TState : notnull => null;

    public bool IsEnabled(LogLevel logLevel) => logLevel >= LogLevel.Error;

    public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
    {
        if (IsEnabled(logLevel))
        {
            Errors.Enqueue($"{formatter(state, exception)} {exception}");
        }
    }

    public void Dispose()
    {
    }
}
