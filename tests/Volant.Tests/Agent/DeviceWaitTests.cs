using Volant.Agent.Transport;

namespace Volant.Tests.Agent;

/// <summary>A guest has one of two channels: waiting for the other must cost it next to nothing, and not delay one that comes late.</summary>
public sealed class DeviceWaitTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task What_never_comes_is_looked_for_less_than_a_hundred_times_in_ten_seconds()
    {
        var clock = new JumpingClock();
        var looks = 0;

        Assert.False(await Listeners.AppearsAsync(() => ++looks < 0, clock, Cancel));

        Assert.InRange(clock.Now, TimeSpan.FromSeconds(10), TimeSpan.FromSeconds(11.1));
        Assert.InRange(looks, 10, 99);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(7)]
    [InlineData(400)]
    [InlineData(9_900)]
    public async Task What_comes_is_seen_within_a_tenth_of_the_time_it_took(int milliseconds)
    {
        var clock = new JumpingClock();
        var due = TimeSpan.FromMilliseconds(milliseconds);

        Assert.True(await Listeners.AppearsAsync(() => clock.Now >= due, clock, Cancel));

        Assert.InRange(clock.Now, due, (due * 1.1) + TimeSpan.FromMilliseconds(5));
    }

    /// <summary>A clock on which every wait is over at once.</summary>
    private sealed class JumpingClock : TimeProvider
    {
        public TimeSpan Now { get; private set; }

        public override long TimestampFrequency => TimeSpan.TicksPerSecond;

        public override long GetTimestamp() => Now.Ticks;

        public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
        {
            Now += dueTime;
            return System.CreateTimer(callback, state, TimeSpan.Zero, Timeout.InfiniteTimeSpan);
        }
    }
}
