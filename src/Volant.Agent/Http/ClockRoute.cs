using System.ComponentModel;
using System.Globalization;
using System.Text.Json;
using Microsoft.AspNetCore.Http;
using Volant.Contracts;
using Volant.Contracts.Api;

namespace Volant.Agent.Http;

/// <summary><c>POST /v1/agent/clock</c>: the host tells the time, and brings random bytes.</summary>
/// <param name="apply">Takes over what the host says and returns how far the clock was stepped.</param>
/// <param name="console">Where a large step is told.</param>
internal sealed class ClockRoute(Func<AgentClock, TimeSpan> apply, ConsoleLog console)
{
    private const int MaxBody = 4096;

    private static readonly TimeSpan Notable = TimeSpan.FromSeconds(1);

    /// <summary>Answers 204, or a problem that says what is wrong.</summary>
    public async Task HandleAsync(HttpContext context)
    {
        var buffer = new byte[MaxBody];
        try
        {
            var length = await context.Request.Body.ReadAtLeastAsync(buffer, buffer.Length, throwOnEndOfStream: false, context.RequestAborted);
            var told = JsonSerializer.Deserialize(buffer.AsSpan(0, length), ContractsJson.Default.AgentClock) ?? throw new JsonException("The body is null.");
            var step = apply(told);
            if (step.Duration() > Notable)
            {
                console.Say(string.Create(CultureInfo.InvariantCulture, $"the host moved the clock by {step.TotalSeconds:0.###} s"));
            }

            context.Response.StatusCode = StatusCodes.Status204NoContent;
        }
        catch (Exception e) when (e is JsonException or ArgumentException)
        {
            await Problems.WriteAsync(context, 400, ErrorCodes.InvalidRequest, $"The body is not a time with an optional seed: {e.Message}");
        }
        catch (Win32Exception e)
        {
            await Problems.WriteAsync(context, 500, ErrorCodes.Internal, $"{e.Message}.");
        }
        catch (Exception e) when (e is OperationCanceledException or IOException)
        {
            // The caller left.
        }
        finally
        {
            Array.Clear(buffer);
        }
    }
}
