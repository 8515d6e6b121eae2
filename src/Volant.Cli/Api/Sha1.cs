using System.Buffers.Binary;
using System.Numerics;

namespace Volant.Cli.Api;

/// <summary>SHA-1 (RFC 3174), for the handshake of WebSockets alone, where it protects nothing.</summary>
/// <remarks>The framework's would load OpenSSL, which takes longer than the rest of a short command and is not installed everywhere.</remarks>
internal static class Sha1
{
    private const int Block = 64;

    /// <summary>The digest, 20 bytes.</summary>
    public static byte[] Hash(ReadOnlySpan<byte> message)
    {
        // A one bit, zeros, and the length in bits as the last eight bytes of a block.
        var padded = new byte[(message.Length + 8 + Block) / Block * Block];
        message.CopyTo(padded);
        padded[message.Length] = 0x80;
        BinaryPrimitives.WriteInt64BigEndian(padded.AsSpan(^8..), message.Length * 8L);
        uint[] state = [0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0];
        Span<uint> words = stackalloc uint[80];
        for (var at = 0; at < padded.Length; at += Block)
        {
            Mix(padded.AsSpan(at, Block), words, state);
        }

        var digest = new byte[20];
        for (var i = 0; i < state.Length; i++)
        {
            BinaryPrimitives.WriteUInt32BigEndian(digest.AsSpan(i * 4), state[i]);
        }

        return digest;
    }

    private static void Mix(ReadOnlySpan<byte> block, Span<uint> words, uint[] state)
    {
        for (var t = 0; t < words.Length; t++)
        {
            words[t] = t < 16
                ? BinaryPrimitives.ReadUInt32BigEndian(block[(t * 4)..])
                : BitOperations.RotateLeft(words[t - 3] ^ words[t - 8] ^ words[t - 14] ^ words[t - 16], 1);
        }

        var (a, b, c, d, e) = (state[0], state[1], state[2], state[3], state[4]);
        for (var t = 0; t < words.Length; t++)
        {
            var (f, k) = (t / 20) switch
            {
                0 => ((b & c) | (~b & d), 0x5A827999u),
                1 => (b ^ c ^ d, 0x6ED9EBA1u),
                2 => ((b & c) | (b & d) | (c & d), 0x8F1BBCDCu),
                _ => (b ^ c ^ d, 0xCA62C1D6u),
            };
            (a, b, c, d, e) = (BitOperations.RotateLeft(a, 5) + f + e + k + words[t], a, BitOperations.RotateLeft(b, 30), c, d);
        }

        state[0] += a;
        state[1] += b;
        state[2] += c;
        state[3] += d;
        state[4] += e;
    }
}
