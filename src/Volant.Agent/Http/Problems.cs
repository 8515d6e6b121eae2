using System.Text.Json;
using Microsoft.AspNetCore.Http;
using Volant.Contracts;
using Volant.Contracts.Api;

namespace Volant.Agent.Http;

/// <summary>Error answers of the agent itself: RFC 9457 problem details.</summary>
internal static class Problems
{
    /// <summary>Answers with a problem, or breaks the answer off when its head has left already.</summary>
    public static async Task WriteAsync(HttpContext context, int status, string code, string detail)
    {
        if (context.Response.HasStarted)
        {
            context.Abort();
            return;
        }

        context.Response.Headers.Clear();
        context.Response.StatusCode = status;
        context.Response.ContentType = "application/problem+json";
        var body = JsonSerializer.SerializeToUtf8Bytes(
            new Problem
            {
                Type = "about:blank",
                Title = TitleOf(status),
                Status = status,
                Detail = detail,
                Error = detail,
                Code = code,
                Instance = context.Request.Path.Value,
            },
            ContractsJson.Default.Problem);
        context.Response.ContentLength = body.Length;
        if (context.Request.Method != "HEAD")
        {
            await context.Response.Body.WriteAsync(body, context.RequestAborted);
        }
    }

    private static string TitleOf(int status) => status switch
    {
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        409 => "Conflict",
        422 => "Unprocessable Content",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        507 => "Insufficient Storage",
        _ => "Error",
    };
}
