using Microsoft.Extensions.Time.Testing;

namespace Volant.Tests;

/// <summary>A clock of tests whose time of day can be set without any time passing: timers and the monotonic clock take no notice, as on a host.</summary>
/// <remarks><see cref="FakeTimeProvider.AdjustTime"/> moves the monotonic clock too.</remarks>
internal sealed class SettableTimeProvider : FakeTimeProvider
{
    private long _offset;

    public SettableTimeProvider()
    {
    }

    public SettableTimeProvider(DateTimeOffset start)
        : base(start)
    {
    }

    /// <summary>Sets the time of day, forward or back.</summary>
    public void SetBy(TimeSpan change) => Interlocked.Add(ref _offset, change.Ticks);

    /// <inheritdoc/>
    public override long GetTimestamp() => base.GetUtcNow().Ticks;

    /// <inheritdoc/>
    public override DateTimeOffset GetUtcNow() => base.GetUtcNow().AddTicks(Interlocked.Read(ref _offset));
}
