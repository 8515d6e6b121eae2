using System.Security.Cryptography;
using Volant.Contracts.Boot;

namespace Volant.Tests.Agent;

/// <summary>The host's end of the guest link, as small as the tests need it.</summary>
internal static class SerialLinkClient
{
    /// <summary>Opens a connection: drops what it receives until the guest's echo.</summary>
    public static async Task<Stream> OpenAsync(Stream pipe, byte[] key, CancellationToken cancellationToken)
    {
        try
        {
            var hello = new byte[GuestLink.HelloLength];
            GuestLink.WriteHello(hello, key, RandomNumberGenerator.GetBytes(GuestLink.KeyLength));
            var echo = hello[^GuestLink.EchoLength..];
            await pipe.WriteAsync(hello, cancellationToken);
            var buffer = new byte[64 * 1024];
            var have = 0;
            while (true)
            {
                var count = await pipe.ReadAsync(buffer.AsMemory(have), cancellationToken);
                have += count > 0 ? count : throw new IOException("The pipe closed before the echo.");
                var found = buffer.AsSpan(0, have).IndexOf(echo);
                if (found >= 0)
                {
                    return new Linked(pipe, GuestLink.Goodbye(echo), buffer[(found + echo.Length)..have]);
                }

                var keep = Math.Min(echo.Length - 1, have);
                buffer.AsSpan(have - keep, keep).CopyTo(buffer);
                have = keep;
            }
        }
        catch
        {
            // QEMU serves one client of a character device at a time: never leak it.
            await pipe.DisposeAsync();
            throw;
        }
    }

    private sealed class Linked(Stream pipe, byte[] goodbye, byte[] first) : Volant.Linux.IO.AsyncOnlyStream
    {
        private readonly List<byte> _tail = [];
        private byte[] _first = first;
        private bool _ended;

        public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            if (_ended || buffer.IsEmpty)
            {
                return 0;
            }

            int count;
            if (_first.Length > 0)
            {
                count = Math.Min(buffer.Length, _first.Length);
                _first.AsSpan(0, count).CopyTo(buffer.Span);
                _first = _first[count..];
            }
            else
            {
                count = await pipe.ReadAsync(buffer, cancellationToken);
            }

            // A goodbye may straddle two reads; its beginning was passed on then, which does no harm.
            byte[] seen = [.. _tail, .. buffer.Span[..count]];
            var found = seen.AsSpan().IndexOf(goodbye);
            _ended = count == 0 || found >= 0;
            var passed = found < 0 ? count : Math.Max(0, found - _tail.Count);
            _tail.Clear();
            _tail.AddRange(seen.AsSpan(Math.Max(0, seen.Length - goodbye.Length + 1)));
            return passed;
        }

        public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default) =>
            pipe.WriteAsync(buffer, cancellationToken);

        protected override void Dispose(bool disposing)
        {
            if (disposing)
            {
                pipe.Dispose();
            }

            base.Dispose(disposing);
        }
    }
}
