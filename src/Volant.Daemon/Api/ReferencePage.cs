using Scalar.AspNetCore;

namespace Volant.Daemon.Api;

/// <summary><c>/docs</c>: the API document for people. Everything that the page needs comes from the daemon.</summary>
internal static class ReferencePage
{
    // The page's script is the library's own; it styles elements directly, and asks for nothing from elsewhere.
    private const string Policy =
        "default-src 'none'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

    /// <summary>Maps the page and its script.</summary>
    public static void MapReference(this IEndpointRouteBuilder routes) =>
        routes.MapScalarApiReference("/docs", page => page
            .WithTitle("Volant API").WithOpenApiRoutePattern("/openapi")
            .DisableAgent().DisableMcp().DisableTelemetry().HideDeveloperTools().HideClientButton().DisableDefaultFonts())
            .AddEndpointFilter(async (context, next) =>
            {
                context.HttpContext.Response.Headers.ContentSecurityPolicy = Policy;
                return await next(context);
            })
            .ExcludeFromDescription();
}
