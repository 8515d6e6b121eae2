using System.Globalization;

namespace Volant.Fledge.Tar;

/// <summary>Reads the members of a tar archive one after another: ustar, pax and GNU, extended attributes with their exact bytes.</summary>
/// <remarks>
/// The input is hostile: every length is checked before it is believed. An archive may end without its two blocks of zeros, which some builders leave
/// out. <see cref="System.Formats.Tar"/> decodes names and attributes as UTF-8 and so loses what is none, such as file capabilities.
/// </remarks>
internal sealed class TarReader(Stream input)
{
    private readonly byte[] _header = new byte[TarFormat.BlockBytes];
    private readonly Dictionary<string, byte[]> _global = new(StringComparer.Ordinal);
    private long _left;
    private int _padding;

    /// <summary>The next member; null at the end. What was not read of the one before is skipped.</summary>
    /// <exception cref="FledgeException">The archive is damaged, or of a kind that fledge does not read.</exception>
    public TarEntry? Next()
    {
        Skip(_left + _padding);
        (_left, _padding) = (0, 0);
        Dictionary<string, byte[]>? extended = null;
        string? longName = null, longLink = null;
        while (ReadHeader())
        {
            var size = Number(TarFormat.Field.Size, "size");
            switch ((char)_header[TarFormat.Field.Kind])
            {
                case 'x':
                    ReadRecords(ReadExtension(size), extended ??= new(StringComparer.Ordinal));
                    break;
                case 'g':
                    ReadRecords(ReadExtension(size), _global);
                    break;
                case 'L':
                    longName = ByteText.Of(Trimmed(ReadExtension(size)));
                    break;
                case 'K':
                    longLink = ByteText.Of(Trimmed(ReadExtension(size)));
                    break;
                case var kind:
                    return Open(kind, size, extended, longName, longLink);
            }
        }

        return extended is null && longName is null && longLink is null ? null : throw Broken("ends after an extension header");
    }

    /// <summary>Reads the content of the current member; 0 at its end.</summary>
    public int Read(Span<byte> buffer)
    {
        if (_left == 0 || buffer.IsEmpty)
        {
            return 0;
        }

        var read = input.Read(buffer[..(int)Math.Min(buffer.Length, _left)]);
        _left -= read > 0 ? read : throw Broken("ends in the middle of a file");
        return read;
    }

    private TarEntry Open(char type, long headerSize, Dictionary<string, byte[]>? extended, string? longName, string? longLink)
    {
        var size = Extended(extended, "size") is { } text ? Decimal(text, "size") : headerSize;
        var name = Text(extended, "path") ?? longName ?? Name();
        var kind = KindOf(type, name);
        if ((extended ?? _global).Keys.Concat(_global.Keys).Any(key => key.StartsWith("GNU.sparse.", StringComparison.Ordinal)))
        {
            throw Broken($"holds the sparse file '{ByteText.Show(name)}', which fledge does not read; pack it without --sparse");
        }

        if (size is < 0 or > TarFormat.MaxContentBytes)
        {
            throw Broken($"claims that '{ByteText.Show(name)}' has {size} bytes");
        }

        // Only a file has a content; some writers put the length of its target's content into a hard link's header.
        (_left, _padding) = kind == TarKind.File ? (size, TarFormat.Padding(size)) : (0, 0);
        return new TarEntry
        {
            Kind = kind,
            Name = name,
            LinkName = Text(extended, "linkpath") ?? longLink ?? ByteText.Of(Trimmed(_header.AsSpan(TarFormat.Field.LinkName))),
            Permissions = (int)(Number(TarFormat.Field.Mode, "mode") & 0xFFF),
            Uid = Owner(extended, "uid", TarFormat.Field.Uid),
            Gid = Owner(extended, "gid", TarFormat.Field.Gid),
            SizeBytes = _left,
            ModifiedAt = Extended(extended, "mtime") is { } time ? Seconds(time) : Number(TarFormat.Field.ModifiedAt, "mtime"),
            Major = kind is TarKind.CharacterDevice or TarKind.BlockDevice ? Device(TarFormat.Field.Major, 0xFFF) : 0,
            Minor = kind is TarKind.CharacterDevice or TarKind.BlockDevice ? Device(TarFormat.Field.Minor, 0xFFFFF) : 0,
            Attributes = Attributes(extended),
        };
    }

    private static TarKind KindOf(char type, string name) => type switch
    {
        '\0' when name.EndsWith('/') => TarKind.Directory,
        '0' or '\0' or '7' => TarKind.File,
        '1' => TarKind.HardLink,
        '2' => TarKind.SymbolicLink,
        '3' => TarKind.CharacterDevice,
        '4' => TarKind.BlockDevice,
        '5' => TarKind.Directory,
        '6' => TarKind.Pipe,
        'S' => throw Broken($"holds the sparse file '{ByteText.Show(name)}', which fledge does not read; pack it without --sparse"),
        _ => throw Broken($"holds '{ByteText.Show(name)}' of the unknown type '{(char.IsAsciiLetterOrDigit(type) ? type : '?')}'"),
    };

    /// <summary>Reads a header; false at the end of the archive.</summary>
    private bool ReadHeader()
    {
        var read = input.ReadAtLeast(_header, _header.Length, throwOnEndOfStream: false);
        if (read == 0 || (read == _header.Length && !_header.AsSpan().ContainsAnyExcept((byte)0)))
        {
            return false;
        }

        if (read < _header.Length)
        {
            throw Broken("ends in the middle of a header");
        }

        var sum = 0;
        for (var i = 0; i < _header.Length; i++)
        {
            sum += i is >= 148 and < 156 ? ' ' : _header[i];
        }

        return Number(TarFormat.Field.Checksum, "checksum") == sum ? true : throw Broken("has a header with a wrong checksum: it is damaged, or no tar archive");
    }

    private byte[] ReadExtension(long size)
    {
        if (size is < 0 or > TarFormat.MaxExtensionBytes)
        {
            throw Broken($"has an extension header of {size} bytes; at most {TarFormat.MaxExtensionBytes} are read");
        }

        var data = new byte[size];
        if (input.ReadAtLeast(data, data.Length, throwOnEndOfStream: false) < data.Length)
        {
            throw Broken("ends in the middle of an extension header");
        }

        Skip(TarFormat.Padding(size));
        return data;
    }

    /// <summary>Records are <c>LENGTH KEY=VALUE\n</c>, the length in decimal and of the whole record.</summary>
    private static void ReadRecords(ReadOnlySpan<byte> data, Dictionary<string, byte[]> records)
    {
        while (!data.IsEmpty)
        {
            var space = data.IndexOf((byte)' ');
            if (space is <= 0 or > 9 || !int.TryParse(data[..space], NumberStyles.None, CultureInfo.InvariantCulture, out var length) ||
                length <= space + 1 || length > data.Length || data[length - 1] != '\n')
            {
                throw Broken("has a damaged extension header");
            }

            var record = data[(space + 1)..(length - 1)];
            var equals = record.IndexOf((byte)'=');
            if (equals <= 0)
            {
                throw Broken("has a damaged extension header");
            }

            records[ByteText.Of(record[..equals])] = record[(equals + 1)..].ToArray();
            data = data[length..];
        }
    }

    /// <summary>A value of the member's own extension header, else of the archive's; an empty one takes the archive's away.</summary>
    private byte[]? Extended(Dictionary<string, byte[]>? extended, string key) =>
        (extended is not null && extended.TryGetValue(key, out var own)) || _global.TryGetValue(key, out own) ? own.Length > 0 ? own : null : null;

    private string? Text(Dictionary<string, byte[]>? extended, string key) =>
        Extended(extended, key) is { } value ? ByteText.Of(value) : null;

    private string Name()
    {
        var name = ByteText.Of(Trimmed(_header.AsSpan(TarFormat.Field.Name)));

        // Only POSIX headers have a prefix; GNU ones keep other things there.
        var prefix = _header.AsSpan(TarFormat.Field.Magic).StartsWith("ustar\0"u8) ? Trimmed(_header.AsSpan(TarFormat.Field.Prefix)) : [];
        return prefix.IsEmpty ? name : $"{ByteText.Of(prefix)}/{name}";
    }

    private static SortedDictionary<string, byte[]>? Attributes(Dictionary<string, byte[]>? extended)
    {
        SortedDictionary<string, byte[]>? attributes = null;
        foreach (var (key, value) in extended ?? [])
        {
            if (key.StartsWith(TarFormat.AttributePrefix, StringComparison.Ordinal) && key.Length > TarFormat.AttributePrefix.Length)
            {
                (attributes ??= new(StringComparer.Ordinal))[key[TarFormat.AttributePrefix.Length..]] = value;
            }
        }

        return attributes;
    }

    private uint Owner(Dictionary<string, byte[]>? extended, string key, Range field)
    {
        var value = Extended(extended, key) is { } text ? Decimal(text, key) : Number(field, key);
        return value is >= 0 and < uint.MaxValue ? (uint)value : throw Broken($"has the {key} {value}, which no user or group can have");
    }

    private uint Device(Range field, uint max)
    {
        var value = Number(field, "device number");
        return value >= 0 && value <= max ? (uint)value : throw Broken($"has the device number {value}, which Linux does not have");
    }

    /// <summary>A number in octal, or in base 256 when the first bit is set.</summary>
    private long Number(Range field, string what)
    {
        var bytes = _header.AsSpan(field);
        if ((bytes[0] & 0x80) != 0)
        {
            // Two's complement behind the marking bit.
            var wide = (Int128)((bytes[0] & 0x40) != 0 ? (bytes[0] & 0x3F) - 0x40 : bytes[0] & 0x3F);
            foreach (var b in bytes[1..])
            {
                wide = (wide << 8) | b;
            }

            return wide >= long.MinValue && wide <= long.MaxValue ? (long)wide : throw Broken($"has a {what} that is out of range");
        }

        var text = Trimmed(bytes).Trim((byte)' ');
        var result = 0L;
        foreach (var digit in text)
        {
            result = digit is >= (byte)'0' and <= (byte)'7' ? (result << 3) | (uint)(digit - '0') : throw Broken($"has a {what} that is no number");
        }

        return result;
    }

    private static long Decimal(byte[] text, string what) =>
        long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var value) ? value : throw Broken($"has a {what} that is no number");

    private static long Seconds(byte[] text)
    {
        var point = text.AsSpan().IndexOf((byte)'.');
        return Decimal(point < 0 ? text : text[..point], "time");
    }

    private static ReadOnlySpan<byte> Trimmed(ReadOnlySpan<byte> field) => field.IndexOf((byte)0) is >= 0 and var end ? field[..end] : field;

    private void Skip(long count)
    {
        if (input.CanSeek && count > TarFormat.BlockBytes)
        {
            // The next read tells whether there was that much.
            input.Seek(count, SeekOrigin.Current);
            return;
        }

        Span<byte> buffer = stackalloc byte[4096];
        while (count > 0)
        {
            var read = input.Read(buffer[..(int)Math.Min(buffer.Length, count)]);
            count -= read > 0 ? read : throw Broken("ends in the middle of a file");
        }
    }

    private static FledgeException Broken(string what) => new($"The tar archive {what}.");
}
