using System.Security.Cryptography;
using Volant.Contracts;

namespace Volant.Fledge.Oci;

/// <summary>Passes on what it reads and knows its digest: <see cref="Finish"/> tells whether it was what was promised.</summary>
/// <param name="inner">Disposed with this.</param>
/// <param name="what">For messages: "The layer sha256:…".</param>
/// <param name="digest">Expected SHA-256 as 64 hex digits; null when nothing is promised.</param>
/// <param name="limit">Most bytes; one more is refused at once.</param>
/// <param name="tooLong">What to say then.</param>
internal sealed class VerifiedStream(Stream inner, string what, string? digest, long limit, string tooLong) : Stream
{
    private readonly IncrementalHash _hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
    private long _length;

    public override bool CanRead => true;

    public override bool CanSeek => false;

    public override bool CanWrite => false;

    public override long Length => throw new NotSupportedException();

    public override long Position
    {
        get => _length;
        set => throw new NotSupportedException();
    }

    /// <summary>Reads to the end and checks length and digest.</summary>
    /// <param name="expectedBytes">Expected length; null when unknown.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <exception cref="FledgeException">It is not what was promised.</exception>
    public void Finish(long? expectedBytes, CancellationToken cancellationToken)
    {
        var buffer = new byte[64 * 1024];
        while (Read(buffer) > 0)
        {
            cancellationToken.ThrowIfCancellationRequested();
        }

        if (expectedBytes is { } wanted && wanted != _length)
        {
            throw new FledgeException($"{what} has {_length} bytes instead of {wanted}: it is damaged. Fetch the image again.");
        }

        var found = Convert.ToHexStringLower(_hash.GetCurrentHash());
        if (digest is not null && digest != found)
        {
            throw new FledgeException($"{what} has the digest {Sha256Text.Prefix}{found}: it is damaged or was tampered with. Fetch the image again.");
        }
    }

    public override int Read(Span<byte> buffer)
    {
        var read = inner.Read(buffer);
        _hash.AppendData(buffer[..read]);
        _length += read;
        return _length <= limit ? read : throw new FledgeException($"{what} {tooLong}");
    }

    public override int Read(byte[] buffer, int offset, int count) => Read(buffer.AsSpan(offset, count));

    public override void Flush()
    {
    }

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            _hash.Dispose();
            inner.Dispose();
        }

        base.Dispose(disposing);
    }
}
