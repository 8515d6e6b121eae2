using Volant.Daemon;
using Volant.Tests.Cli;

namespace Volant.Tests.Daemon;

public sealed class StateLockTests
{
    [Fact]
    public async Task A_lock_that_a_dying_daemon_leaves_is_waited_for_and_that_of_a_living_one_is_an_error()
    {
        var directory = Directory.CreateTempSubdirectory("volant-lock-");
        try
        {
            var first = await StateLock.TakeAsync(directory.FullName, TimeProvider.System);
            var second = StateLock.TakeAsync(directory.FullName, TimeProvider.System);
            Assert.False(second.IsCompleted);
            first.Dispose();
            using (await second)
            {
                var fault = await Assert.ThrowsAsync<ConfigurationException>(() => StateLock.TakeAsync(directory.FullName, new JumpingClock(TimeSpan.FromSeconds(3))));
                Assert.Contains("another volantd uses", fault.Message, StringComparison.Ordinal);
            }
        }
        finally
        {
            directory.Delete(recursive: true);
        }
    }
}
