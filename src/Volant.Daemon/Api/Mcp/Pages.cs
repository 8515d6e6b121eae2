namespace Volant.Daemon.Api.Mcp;

/// <summary>Pages of a list.</summary>
internal static class Pages
{
    /// <summary>Where the next page begins; null after the last one.</summary>
    public static int? Next(int offset, int count, long total) => count > 0 && offset + (long)count < total ? offset + count : null;
}
