using System.Globalization;
using System.Text;

namespace Volant.Fledge.Tar;

/// <summary>Writes a tar archive: ustar headers, with pax ones before them for what does not fit. The same entries give the same bytes.</summary>
internal sealed class TarWriter(Stream output)
{
    private const int NameBytes = 100;
    private const int EndBlocks = 2;

    private static readonly byte[] Zeros = new byte[TarFormat.BlockBytes * EndBlocks];

    private readonly byte[] _header = new byte[TarFormat.BlockBytes];

    /// <summary>Writes the header of a member; the content, if it has one, goes to the stream next and is followed by <see cref="EndContent"/>.</summary>
    public void WriteHeader(TarEntry entry)
    {
        WriteExtension(entry);
        Header(entry.Name, TypeOf(entry.Kind), entry.Permissions, entry.Uid, entry.Gid, entry.SizeBytes, entry.ModifiedAt);
        Text(TarFormat.Field.LinkName, entry.LinkName);
        Octal(TarFormat.Field.Major, entry.Major);
        Octal(TarFormat.Field.Minor, entry.Minor);
        Finish();
    }

    /// <summary>Writes what follows a content.</summary>
    public void EndContent(long sizeBytes) => output.Write(Zeros.AsSpan(0, TarFormat.Padding(sizeBytes)));

    /// <summary>Ends the archive.</summary>
    public void WriteEnd() => output.Write(Zeros);

    private void WriteExtension(TarEntry entry)
    {
        using var records = new MemoryStream();
        if (entry.Name.Length > NameBytes || entry.Name.Any(c => c > 127))
        {
            Record(records, "path", ByteText.Bytes(entry.Name));
        }

        if (entry.LinkName.Length > NameBytes || entry.LinkName.Any(c => c > 127))
        {
            Record(records, "linkpath", ByteText.Bytes(entry.LinkName));
        }

        Number(records, "uid", entry.Uid, Fits(entry.Uid, TarFormat.Field.Uid));
        Number(records, "gid", entry.Gid, Fits(entry.Gid, TarFormat.Field.Gid));
        Number(records, "size", entry.SizeBytes, Fits(entry.SizeBytes, TarFormat.Field.Size));
        Number(records, "mtime", entry.ModifiedAt, Fits(entry.ModifiedAt, TarFormat.Field.ModifiedAt));
        foreach (var (name, value) in entry.Attributes ?? [])
        {
            Record(records, TarFormat.AttributePrefix + name, value);
        }

        if (records.Length == 0)
        {
            return;
        }

        Header("PaxHeader", 'x', 0, 0, 0, records.Length, 0);
        Finish();
        output.Write(records.GetBuffer().AsSpan(0, (int)records.Length));
        EndContent(records.Length);
    }

    private static void Number(MemoryStream records, string key, long value, bool fits)
    {
        if (!fits)
        {
            Record(records, key, Encoding.ASCII.GetBytes(value.ToString(CultureInfo.InvariantCulture)));
        }
    }

    /// <summary>The length of a record counts its own digits.</summary>
    private static void Record(MemoryStream records, string key, byte[] value)
    {
        var rest = key.Length + value.Length + 3;
        var length = rest + 1;
        while (length != rest + length.ToString(CultureInfo.InvariantCulture).Length)
        {
            length = rest + length.ToString(CultureInfo.InvariantCulture).Length;
        }

        records.Write(ByteText.Bytes(string.Create(CultureInfo.InvariantCulture, $"{length} {key}=")));
        records.Write(value);
        records.WriteByte((byte)'\n');
    }

    private void Header(string name, char type, int permissions, long uid, long gid, long size, long time)
    {
        _header.AsSpan().Clear();
        Text(TarFormat.Field.Name, name);
        Octal(TarFormat.Field.Mode, permissions);
        Octal(TarFormat.Field.Uid, uid);
        Octal(TarFormat.Field.Gid, gid);
        Octal(TarFormat.Field.Size, size);
        Octal(TarFormat.Field.ModifiedAt, time);
        _header[TarFormat.Field.Kind] = (byte)type;
        "ustar\000"u8.CopyTo(_header.AsSpan(TarFormat.Field.Magic));
    }

    private void Finish()
    {
        _header.AsSpan(TarFormat.Field.Checksum).Fill((byte)' ');
        var sum = 0;
        foreach (var b in _header)
        {
            sum += b;
        }

        Octal(TarFormat.Field.Checksum, sum);
        output.Write(_header);
    }

    /// <summary>What is too long is cut: the extension header before it says all of it.</summary>
    private void Text(Range field, string text)
    {
        var bytes = ByteText.Bytes(text);
        var place = _header.AsSpan(field);
        bytes.AsSpan(0, Math.Min(bytes.Length, place.Length)).CopyTo(place);
    }

    private void Octal(Range field, long value)
    {
        var place = _header.AsSpan(field);
        var digits = Fits(value, field) ? Convert.ToString(value, 8) : "0";
        Encoding.ASCII.GetBytes(digits.PadLeft(place.Length - 1, '0'), place);
        place[^1] = 0;
    }

    private static bool Fits(long value, Range field)
    {
        var digits = field.End.Value - field.Start.Value - 1;
        return value >= 0 && value < 1L << (3 * digits);
    }

    private static char TypeOf(TarKind kind) => kind switch
    {
        TarKind.HardLink => '1',
        TarKind.SymbolicLink => '2',
        TarKind.CharacterDevice => '3',
        TarKind.BlockDevice => '4',
        TarKind.Directory => '5',
        TarKind.Pipe => '6',
        _ => '0',
    };
}
