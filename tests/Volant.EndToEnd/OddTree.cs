using System.Formats.Tar;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;

namespace Volant.EndToEnd;

/// <summary>Files of every odd kind below <c>/odd</c>: a layer that holds them, and what a guest must find.</summary>
internal sealed class OddTree
{
    // More than a directory without an index has room for.
    private static readonly int ManyFiles = Component.StandIn.Extent(700, 3000);
    private const int Depth = 200;

    private readonly SortedDictionary<string, string> _lines = new(StringComparer.Ordinal);
    private readonly List<PaxTarEntry> _entries = [];

    /// <summary>Makes the tree.</summary>
    public OddTree()
    {
        Add(new PaxTarEntry(TarEntryType.Directory, "odd/") { Mode = Mode(0x1ED) });
        Add(new PaxTarEntry(TarEntryType.Directory, "odd/many/") { Mode = Mode(0x1ED) });
        for (var i = 0; i < ManyFiles; i++)
        {
            AddFile(string.Create(CultureInfo.InvariantCulture, $"odd/many/a-name-that-takes-some-room-{i:0000}"), $"{i}");
        }

        var deep = "odd/deep/";
        Add(new PaxTarEntry(TarEntryType.Directory, deep) { Mode = Mode(0x1ED) });
        for (var i = 0; i < Depth; i++)
        {
            deep += "d/";
            Add(new PaxTarEntry(TarEntryType.Directory, deep) { Mode = Mode(0x1ED) });
        }

        AddFile(deep + "file", "deep");
        AddFile("odd/" + new string('n', 255), "long name");
        AddFile("odd/käse und brot", "text that is not ASCII");
        AddFile("odd/set-user", "x", 0x9ED);
        AddFile("odd/owned", "owned", uid: 2_000_000_000, gid: 70_000);
        AddFile("odd/later", "later", time: 4_102_444_800);
        AddFile("odd/one", "shared", links: 2);
        Add(new PaxTarEntry(TarEntryType.HardLink, "odd/two") { LinkName = "odd/one" }, Describe("regular file", 0x1A4, 0, 0, 6, 2, 0), "shared");
        foreach (var length in (int[])[1, 59, 60, 61, 1000])
        {
            var target = new string('t', length);
            Add(new PaxTarEntry(TarEntryType.SymbolicLink, string.Create(CultureInfo.InvariantCulture, $"odd/link{length}")) { LinkName = target, Mode = Mode(0x1FF) }, $"link {target}");
        }

        Add(new PaxTarEntry(TarEntryType.CharacterDevice, "odd/null") { Mode = Mode(0x1B6), DeviceMajor = 1, DeviceMinor = 3 }, "device 1:3");
        Add(new PaxTarEntry(TarEntryType.BlockDevice, "odd/block") { Mode = Mode(0x1B0), DeviceMajor = 259, DeviceMinor = 70_000 }, "device 103:11170");
        Add(new PaxTarEntry(TarEntryType.Fifo, "odd/pipe") { Mode = Mode(0x1A4) }, "pipe");
        var noise = new byte[Component.StandIn.Extent(1_500_001, 9_000_001)];
        new Random(5).NextBytes(noise);
        AddFile("odd/noise", noise, 0x1A4, 0, 0, 0, 1);
    }

    /// <summary>Script for the guest's shell; prints a line for each file.</summary>
    public static string Script { get; } = """
        cd / || exit 1
        find odd -xdev | while IFS= read -r f; do
            if [ -L "$f" ]; then echo "$f|link $(readlink "$f")"
            elif [ -p "$f" ]; then echo "$f|pipe"
            elif [ -b "$f" ] || [ -c "$f" ]; then echo "$f|device $(stat -c %t:%T "$f")"
            elif [ -d "$f" ]; then echo "$f|directory"
            fi
        done
        find odd -xdev -type f -exec stat -c '%n|%F|%a|%u|%g|%s|%h|%Y' {} +
        find odd -xdev -type f -exec sha256sum {} + | sed 's/^\([0-9a-f]*\)  \(.*\)/\2|sha256|\1/'
        """;

    /// <summary>What <see cref="Script"/> prints, sorted.</summary>
    public IEnumerable<string> Expected => _lines.SelectMany(pair => pair.Value.Split('\n').Select(line => $"{pair.Key}|{line}")).Order(StringComparer.Ordinal);

    /// <summary>Writes the layer.</summary>
    public async Task WriteAsync(TarWriter tar)
    {
        foreach (var entry in _entries)
        {
            if (entry.DataStream is { } content)
            {
                content.Position = 0;
            }

            await tar.WriteEntryAsync(entry);
        }
    }

    private void AddFile(string name, string content, int mode = 0x1A4, int uid = 0, int gid = 0, long time = 0, int links = 1) => AddFile(name, Encoding.UTF8.GetBytes(content), mode, uid, gid, time, links);

    private void AddFile(string name, byte[] content, int mode, int uid, int gid, long time, int links)
    {
        var entry = new PaxTarEntry(TarEntryType.RegularFile, name)
        {
            Mode = Mode(mode),
            Uid = uid,
            Gid = gid,
            ModificationTime = DateTimeOffset.FromUnixTimeSeconds(time),
            DataStream = new MemoryStream(content),
        };
        Add(entry, Describe(content.Length == 0 ? "regular empty file" : "regular file", mode, uid, gid, content.Length, links, time), content: null, content);
    }

    private static string Describe(string kind, int mode, int uid, int gid, long size, int links, long time) =>
        string.Create(CultureInfo.InvariantCulture, $"{kind}|{Convert.ToString(mode, 8)}|{uid}|{gid}|{size}|{links}|{time}");

    private void Add(PaxTarEntry entry, string line = "directory", string? content = null, byte[]? bytes = null)
    {
        if (line == "directory")
        {
            entry.ModificationTime = DateTimeOffset.UnixEpoch;
        }

        _entries.Add(entry);
        bytes ??= content is null ? null : Encoding.UTF8.GetBytes(content);
        _lines[entry.Name.TrimEnd('/')] = bytes is null ? line : $"{line}\nsha256|{Convert.ToHexStringLower(SHA256.HashData(bytes))}";
    }

    private static UnixFileMode Mode(int mode) => (UnixFileMode)mode;
}
