using CsCheck;
using Volant.Agent.Transport;
using Volant.Contracts.Boot;

namespace Volant.Tests.Agent;

public sealed class LinkScannerTests
{
    private static readonly byte[] Key = [.. Enumerable.Range(0, GuestLink.KeyLength).Select(i => (byte)(200 + i))];
    private static readonly byte[] Nonce = [.. Enumerable.Range(0, GuestLink.KeyLength).Select(i => (byte)(100 + i))];

    [Fact]
    public void An_opening_is_found_wherever_the_pipe_cuts_it()
    {
        byte[] stream = [1, 2, 3, .. Hello(Key, Nonce), 4, 5, 6];
        for (var first = 0; first <= stream.Length; first++)
        {
            for (var second = first; second <= stream.Length; second++)
            {
                var found = Scan(new LinkScanner(), stream[..first], stream[first..second], stream[second..]);

                var echo = Assert.Single(found.Echoes);
                Assert.Equal([.. Key, .. Nonce], echo);
                Assert.Equal([4, 5, 6], found.Payloads[^1]);
            }
        }
    }

    [Fact]
    public void A_later_opening_is_found_by_its_key_wherever_the_pipe_cuts_it()
    {
        var other = Nonce.Reverse().ToArray();
        byte[] stream = [7, 8, .. Hello(Key, other), 9];
        for (var cut = 0; cut <= stream.Length; cut++)
        {
            var scanner = new LinkScanner();
            Scan(scanner, Hello(Key, Nonce));

            var found = Scan(scanner, stream[..cut], stream[cut..]);

            Assert.Equal([.. Key, .. other], Assert.Single(found.Echoes));
            Assert.Equal([9], found.Payloads[^1]);
        }
    }

    [Fact]
    public void An_opening_that_breaks_off_anywhere_does_not_hide_the_next_one()
    {
        var hello = Hello(Key, Nonce);
        for (var length = 0; length < hello.Length; length++)
        {
            var scanner = new LinkScanner();

            var found = Scan(scanner, hello[..length], hello, [42]);

            Assert.Equal([.. Key, .. Nonce], found.Echoes[^1]);
            Assert.Equal([42], found.Payloads[^1]);

            // The key is the right one: a connection after that is found by it alone.
            Assert.Single(Scan(scanner, [.. Key, .. Nonce]).Echoes);
        }
    }

    [Fact]
    public void The_key_is_learnt_once()
    {
        var scanner = new LinkScanner();
        Scan(scanner, Hello(Key, Nonce));

        var found = Scan(scanner, Hello([.. Key.Reverse()], Nonce));

        Assert.Empty(found.Echoes);
    }

    [Fact]
    public void A_reset_forgets_half_an_opening_and_keeps_the_key()
    {
        var scanner = new LinkScanner();
        Scan(scanner, Hello(Key, Nonce));
        Scan(scanner, [.. Key, .. Nonce[..5]]);

        scanner.Reset();
        var found = Scan(scanner, [.. Nonce[5..], .. Key, .. Nonce]);

        Assert.Equal([.. Key, .. Nonce], Assert.Single(found.Echoes));
    }

    [Fact]
    public void Payload_is_passed_on_at_once_and_unchanged_however_it_is_cut() =>
        Gen.Byte.Array[0, 300].Array[1, 20].Sample(pieces =>
        {
            var scanner = new LinkScanner();
            Scan(scanner, Hello(Key, Nonce));
            foreach (var piece in pieces)
            {
                var found = Scan(scanner, piece);
                Assert.Empty(found.Echoes);
                Assert.Equal(piece, found.Payloads.SelectMany(p => p).ToArray());
            }
        });

    [Fact]
    public void Payload_that_looks_like_the_beginning_of_a_key_is_passed_on_at_once() =>
        Gen.Select(Gen.Int[1, GuestLink.KeyLength - 1], Gen.Byte.Array[0, 40], (prefix, rest) => (byte[])[.. rest, .. Key[..prefix]]).Sample(piece =>
        {
            var scanner = new LinkScanner();
            Scan(scanner, Hello(Key, Nonce));

            Assert.Equal(piece, Scan(scanner, piece).Payloads.SelectMany(p => p).ToArray());
        });

    [Fact]
    public void Any_mixture_of_noise_and_openings_ends_in_the_last_opening() =>
        Gen.Select(Gen.Byte.Array[0, 200].Array[1, 8], Gen.Byte.Array[GuestLink.KeyLength].Array[8], Gen.Int[1, 70]).Sample((noise, nonces, step) =>
        {
            var stream = noise.SelectMany((n, i) => (byte[])[.. Hello(Key, nonces[i]), .. n]).ToArray();
            var pieces = stream.Chunk(step).ToArray();

            var found = Scan(new LinkScanner(), pieces);

            Assert.Equal(noise.Length, found.Echoes.Count);
            Assert.Equal([.. Key, .. nonces[noise.Length - 1]], found.Echoes[^1]);
        });

    private static byte[] Hello(byte[] key, byte[] nonce)
    {
        var hello = new byte[GuestLink.HelloLength];
        GuestLink.WriteHello(hello, key, nonce);
        return hello;
    }

    /// <summary>What the scanner finds in pieces; the payload after the last opening is the last one, joined.</summary>
    private static (List<byte[]> Echoes, List<byte[]> Payloads) Scan(LinkScanner scanner, params byte[][] pieces)
    {
        var echoes = new List<byte[]>();
        var payloads = new List<byte[]>();
        foreach (var piece in pieces)
        {
            piece.CopyTo(scanner.Free);
            scanner.Received(piece.Length);
            var isNew = true;
            while (scanner.TryNext(out var item))
            {
                if (item.Echo is { } echo)
                {
                    echoes.Add(echo);
                    payloads.Add([]);
                    isNew = false;
                    continue;
                }

                if (payloads.Count == 0 || (isNew && echoes.Count == 0))
                {
                    payloads.Add([]);
                    isNew = false;
                }

                payloads[^1] = [.. payloads[^1], .. item.Payload.Span];
            }
        }

        return (echoes, payloads);
    }
}
