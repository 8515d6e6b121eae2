using Microsoft.AspNetCore.Http.Metadata;
using Microsoft.Net.Http.Headers;
using Volant.Contracts.Api;

namespace Volant.Daemon.Api;

/// <summary>JSON is UTF-8 (RFC 8259, section 8.1): a body that claims another encoding is refused before anybody reads it.</summary>
internal static class JsonBodies
{
    /// <summary>The middleware; routes that pass a body on as it is are left alone.</summary>
    public static Task InvokeAsync(HttpContext context, RequestDelegate next)
    {
        if (context.GetEndpoint()?.Metadata.GetMetadata<IAcceptsMetadata>() is not null
            && MediaTypeHeaderValue.TryParse(context.Request.ContentType, out var type) && type.Charset.HasValue)
        {
            if (!HeaderUtilities.RemoveQuotes(type.Charset).Equals("utf-8", StringComparison.OrdinalIgnoreCase))
            {
                return Problems.WriteAsync(
                    context, StatusCodes.Status415UnsupportedMediaType, ErrorCodes.UnsupportedMediaType, "The request body must be JSON in UTF-8: send Content-Type: application/json.");
            }

            // The framework does not know the name in quotes, which HTTP allows (RFC 9110, section 8.3.1).
            context.Request.ContentType = type.MediaType.Value;
        }

        return next(context);
    }
}
