namespace Volant.Cli.Guests;

/// <summary>Standard input on its way into a guest.</summary>
internal static class Keyboard
{
    /// <summary>Ctrl-], which leaves a console.</summary>
    public const byte Leave = 0x1d;

    /// <summary>Most bytes that are sent at once.</summary>
    private const int ChunkBytes = 32 * 1024;

    /// <summary>Sends what is read until the end, or until <see cref="Leave"/> where that is watched for.</summary>
    /// <param name="input">Standard input.</param>
    /// <param name="watched">Whether <see cref="Leave"/> ends it.</param>
    /// <param name="prefix">Byte that every message starts with; null for none.</param>
    /// <param name="send">Sends a message.</param>
    /// <param name="cancellationToken">Ends it; a read that waits for a key is left behind.</param>
    /// <returns>Whether <see cref="Leave"/> was pressed.</returns>
    public static async Task<bool> PumpAsync(
        Stream input, bool watched, byte? prefix, Func<ReadOnlyMemory<byte>, CancellationToken, Task> send, CancellationToken cancellationToken)
    {
        var at = prefix is null ? 0 : 1;
        var buffer = new byte[at + ChunkBytes];
        buffer[0] = prefix ?? 0;
        while (await input.ReadAsync(buffer.AsMemory(at), cancellationToken).AsTask().WaitAsync(cancellationToken) is > 0 and var read)
        {
            var keys = buffer.AsSpan(at, read);
            var left = watched ? keys.IndexOf(Leave) : -1;
            var length = left >= 0 ? left : read;
            if (length > 0)
            {
                await send(buffer.AsMemory(0, at + length), cancellationToken);
            }

            if (left >= 0)
            {
                return true;
            }
        }

        return false;
    }
}
