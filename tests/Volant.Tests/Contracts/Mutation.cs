using System.Diagnostics;
using System.Text;

namespace Volant.Tests.Contracts;

/// <summary>Damages documents, and bounds what reading one may cost.</summary>
internal static class Mutation
{
    /// <summary>Most memory that reading one document may take.</summary>
    private const long MaxBytes = 64 << 20;

    private const int Measurements = 20;

    /// <summary>Longest time that reading one document may take.</summary>
    private static readonly TimeSpan MaxTime = TimeSpan.FromMilliseconds(50);

    /// <summary>What has confused readers of JSON and TOML before.</summary>
    private static readonly byte[][] Tokens =
    [
        .. new[]
        {
            "\"", "\\", "\\ud800", "\\udc00\\ud800", "\\u0000", "\\uZZZZ", "1e999", "-1e-999", "-1", "-0", "99999999999999999999999999", "0x10", "1_0", "NaN", "Infinity", "nan", "null", "true",
            "{}", "[]", "{", "}", "[", "]", "[[", "]]", ",", ":", "=", ".", "\n", "\r", "\0", "#", "//", "/* */", "'''", "\"\"\"", "\"zz\": 1, ", "zz = 1\n", "\"name\": \"other\", ", "name = \"x\"\n",
            "\" a \"", "\"a\": null, ", "1979-05-27T07:32:00Z", "\u00a0", "\u2028", "\ufeff", "😀", "é", "file:///etc/passwd", "http://[::1]:0/", "../..",
        }.Select(Encoding.UTF8.GetBytes),
        [0xff], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80], [0x1f, 0x8b],
        Encoding.UTF8.GetBytes(new string('[', 3000)), Encoding.UTF8.GetBytes(string.Concat(Enumerable.Repeat("{\"a\":", 1000))), Encoding.UTF8.GetBytes(new string('9', 5000)),
        Encoding.UTF8.GetBytes(new string('a', 20_000)),
    ];

    /// <summary>A document with some things changed, by chance; the same for the same seed.</summary>
    public static byte[] Mutate(byte[] document, int seed)
    {
        var random = new Random(seed);
        var bytes = document.ToList();
        for (var edits = random.Next(1, 6); edits > 0; edits--)
        {
            var at = random.Next(bytes.Count + 1);
            var length = Math.Min(random.Next(1, 40), bytes.Count - at);
            switch (random.Next(5))
            {
                case 0 when length > 0:
                    bytes[at] ^= (byte)(1 << random.Next(8));
                    break;
                case 1:
                    bytes.RemoveRange(at, length);
                    break;
                case 2:
                    bytes.InsertRange(random.Next(bytes.Count + 1), bytes.GetRange(at, length));
                    break;
                case 3:
                    bytes.RemoveRange(at, length);
                    bytes.InsertRange(at, Tokens[random.Next(Tokens.Length)]);
                    break;
                default:
                    bytes.InsertRange(at, Tokens[random.Next(Tokens.Length)]);
                    break;
            }
        }

        return [.. bytes];
    }

    /// <summary>Reads a document within the bounds. Of a slow one the quickest of several readings counts: the others waited for the processor.</summary>
    /// <param name="read">Reads it.</param>
    /// <param name="limit">Longest time; 50 ms for a document that is not made to be slow.</param>
    public static void Bounded(Action read, TimeSpan? limit = null)
    {
        var longest = limit ?? MaxTime;
        var quickest = TimeSpan.MaxValue;
        for (var i = 0; i < Measurements && quickest > longest; i++)
        {
            var allocated = GC.GetAllocatedBytesForCurrentThread();
            var started = Stopwatch.GetTimestamp();
            read();
            var time = Stopwatch.GetElapsedTime(started);
            quickest = time < quickest ? time : quickest;
            Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - allocated, 0, MaxBytes);
        }

        Assert.InRange(quickest, TimeSpan.Zero, longest);
    }
}
