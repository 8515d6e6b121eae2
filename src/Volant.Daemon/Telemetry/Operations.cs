using System.Diagnostics;

namespace Volant.Daemon.Telemetry;

/// <summary>Gives an operation its id, its trace and its time.</summary>
internal static class Operations
{
    /// <summary>Runs an operation on a VM: every log line that it causes carries <c>operation_id</c>.</summary>
    /// <param name="operation">Its name: create, start, stop, …</param>
    /// <param name="vm">Name of the VM.</param>
    /// <param name="logger">Whose lines carry the id.</param>
    /// <param name="clock">What measures.</param>
    /// <param name="run">The operation.</param>
    /// <param name="codeOf">The error code of a failure.</param>
    public static async Task<T> TrackAsync<T>(string operation, string vm, ILogger logger, TimeProvider clock, Func<Task<T>> run, Func<Exception, string> codeOf)
    {
        using var activity = Instruments.Activities.StartActivity($"vm.{operation}");
        activity?.SetTag("volant.vm", vm);
        using var scope = logger.BeginScope(new LogScope(("operation_id", Guid.CreateVersion7().ToString("N")), ("operation", operation), ("vm", vm)));
        var started = clock.GetTimestamp();
        var outcome = "ok";
        try
        {
            return await run();
        }
        catch (Exception e)
        {
            outcome = codeOf(e);
            activity?.SetStatus(ActivityStatusCode.Error, e.Message);
            activity?.SetTag("error.type", outcome);
            throw;
        }
        finally
        {
            Instruments.OperationDuration.Record(
                clock.GetElapsedTime(started).TotalSeconds, new KeyValuePair<string, object?>("operation", operation), new KeyValuePair<string, object?>("outcome", outcome));
        }
    }
}
