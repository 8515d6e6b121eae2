using System.Globalization;
using System.Text;
using Volant.Contracts.Boot;

namespace Volant.Fledge.Cpio;

/// <summary>A member as it was found in an archive.</summary>
/// <param name="Path">Path as written.</param>
/// <param name="Mode">File type and permission bits.</param>
/// <param name="Uid">Owner.</param>
/// <param name="Gid">Group.</param>
/// <param name="SizeBytes">Length of the content.</param>
/// <param name="Target">Target of a symbolic link.</param>
internal sealed record CpioMember(string Path, int Mode, uint Uid, uint Gid, long SizeBytes, string? Target);

/// <summary>Lists the members of one or more concatenated "newc" archives, as the kernel would unpack them. Contents are skipped.</summary>
/// <remarks>The input is hostile: lengths are checked before anything is read, and counted against the limits of <see cref="CpioFormat"/>.</remarks>
internal sealed class CpioReader(Stream input)
{
    private readonly byte[] _buffer = new byte[64 * 1024];
    private long _offset;
    private int _count;

    /// <summary>Reads members until the input ends.</summary>
    /// <exception cref="FledgeException">The input is not a valid archive, or exceeds a limit.</exception>
    public async IAsyncEnumerable<CpioMember> ReadAsync([System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken cancellationToken)
    {
        var inside = false;
        while (await ReadHeaderAsync(inside, cancellationToken) is { } header)
        {
            var member = await ReadMemberAsync(header, cancellationToken);
            inside = member.Path != CpioHeader.Trailer;
            if (!inside)
            {
                continue;
            }

            yield return ++_count <= CpioFormat.MaxEntries ? member : throw Broken($"has more than {CpioFormat.MaxEntries} entries");
        }

        if (_count == 0 || inside)
        {
            throw Broken(inside ? $"ends without '{CpioHeader.Trailer}'" : "holds no entry");
        }
    }

    /// <summary>Reads the next header; between two archives any number of NULs may stand. Null at the end of the input.</summary>
    private async Task<string?> ReadHeaderAsync(bool inside, CancellationToken cancellationToken)
    {
        do
        {
            if (await input.ReadAtLeastAsync(_buffer.AsMemory(0, 1), 1, throwOnEndOfStream: false, cancellationToken) == 0)
            {
                return null;
            }

            _offset++;
        }
        while (!inside && _buffer[0] == 0);

        await FillAsync(1, CpioFormat.HeaderBytes - 1, cancellationToken);
        var header = Encoding.Latin1.GetString(_buffer, 0, CpioFormat.HeaderBytes);
        return header.StartsWith(CpioHeader.Magic, StringComparison.Ordinal) || header.StartsWith(CpioFormat.MagicWithChecksum, StringComparison.Ordinal)
            ? header
            : throw Broken($"has no entry at byte {_offset - CpioFormat.HeaderBytes}: expected '{CpioHeader.Magic}'");
    }

    private async Task<CpioMember> ReadMemberAsync(string header, CancellationToken cancellationToken)
    {
        var nameBytes = Field(header, 11);
        if (nameBytes is 0 or > CpioFormat.MaxPathBytes + 1)
        {
            throw Broken($"has a path of {nameBytes} bytes; 1 to {CpioFormat.MaxPathBytes} are possible");
        }

        await FillAsync(0, (int)nameBytes, cancellationToken);
        var path = Encoding.UTF8.GetString(_buffer, 0, (int)nameBytes - 1);
        await AlignAsync(cancellationToken);

        var size = Field(header, 6);
        var mode = (int)Field(header, 1);
        string? target = null;
        if ((mode & CpioFormat.TypeMask) == CpioFormat.TypeSymlink)
        {
            if (size > CpioFormat.MaxPathBytes)
            {
                throw Broken($"has a link target of {size} bytes at '{path}'; at most {CpioFormat.MaxPathBytes} are possible");
            }

            await FillAsync(0, (int)size, cancellationToken);
            target = Encoding.UTF8.GetString(_buffer, 0, (int)size);
        }
        else
        {
            await SkipAsync(size, cancellationToken);
        }

        await AlignAsync(cancellationToken);
        return new CpioMember(path, mode, Field(header, 2), Field(header, 3), size, target);
    }

    private uint Field(string header, int index) =>
        uint.TryParse(header.AsSpan(CpioHeader.Magic.Length + (index * 8), 8), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var value)
            ? value
            : throw Broken($"has a header that is not hexadecimal before byte {_offset}");

    private async Task SkipAsync(long size, CancellationToken cancellationToken)
    {
        for (var left = size; left > 0;)
        {
            var part = (int)Math.Min(left, _buffer.Length);
            await FillAsync(0, part, cancellationToken);
            left -= part;
        }
    }

    private Task AlignAsync(CancellationToken cancellationToken) =>
        FillAsync(0, (int)((CpioHeader.Alignment - (_offset % CpioHeader.Alignment)) % CpioHeader.Alignment), cancellationToken);

    private async Task FillAsync(int start, int count, CancellationToken cancellationToken)
    {
        if (await input.ReadAtLeastAsync(_buffer.AsMemory(start, count), count, throwOnEndOfStream: false, cancellationToken) < count)
        {
            throw Broken("ends in the middle of an entry");
        }

        _offset += count;
        if (_offset > CpioFormat.MaxArchiveBytes)
        {
            throw Broken($"exceeds {CpioFormat.MaxArchiveBytes} bytes");
        }
    }

    private static FledgeException Broken(string what) => new($"The archive {what}.");
}
