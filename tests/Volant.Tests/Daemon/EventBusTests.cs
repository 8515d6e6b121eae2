using Volant.Contracts.Api;
using Volant.Daemon.Events;

namespace Volant.Tests.Daemon;

public sealed class EventBusTests
{
    private readonly EventBus _bus = new();

    [Fact]
    public async Task Subscribers_see_events_in_order_with_rising_numbers()
    {
        var subscription = _bus.SubscribeAsync(after: null, TestContext.Current.CancellationToken);
        Publish(3);

        Assert.Equal([1L, 2L, 3L], await TakeAsync(subscription, 3));
    }

    [Fact]
    public async Task A_subscriber_resumes_after_the_last_number_it_saw()
    {
        Publish(5);

        Assert.Equal([4L, 5L], await TakeAsync(_bus.SubscribeAsync(after: 3, TestContext.Current.CancellationToken), 2));
    }

    [Fact]
    public async Task A_subscriber_that_falls_behind_is_cut_off_and_the_publisher_never_waits()
    {
        var slow = _bus.SubscribeAsync(after: null, TestContext.Current.CancellationToken);
        Publish(EventBus.SubscriberCapacity + EventBus.RingCapacity + 1);

        var received = await TakeAsync(slow, int.MaxValue);

        Assert.Equal(EventBus.SubscriberCapacity + EventBus.RingCapacity, received.Count);
    }

    private void Publish(int count)
    {
        for (var i = 0; i < count; i++)
        {
            _bus.Publish(new VmEvent { Type = VmEventTypes.Created, Name = "a", Status = VmStatus.Starting, Timestamp = DateTimeOffset.UnixEpoch });
        }
    }

    private static async Task<IReadOnlyList<long>> TakeAsync(IAsyncEnumerable<SequencedEvent> events, int count)
    {
        var numbers = new List<long>();
        await foreach (var next in events)
        {
            numbers.Add(next.Sequence);
            if (numbers.Count == count)
            {
                break;
            }
        }

        return numbers;
    }
}
