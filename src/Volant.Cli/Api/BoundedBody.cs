namespace Volant.Cli.Api;

/// <summary>Reads streams of unknown length into memory.</summary>
internal static class BoundedBody
{
    /// <summary>Reads to the end; null when there are more than <paramref name="most"/> bytes.</summary>
    public static async Task<byte[]?> TryReadAsync(Stream stream, int most, CancellationToken cancellationToken)
    {
        using var buffer = new MemoryStream();
        var chunk = new byte[16 * 1024];
        while (await stream.ReadAsync(chunk, cancellationToken) is > 0 and var read)
        {
            if (buffer.Length + read > most)
            {
                return null;
            }

            await buffer.WriteAsync(chunk.AsMemory(0, read), cancellationToken);
        }

        return buffer.ToArray();
    }
}
