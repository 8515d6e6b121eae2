using System.Globalization;
using System.Text;

namespace Volant.Tests.Fledge;

/// <summary>A member of a "newc" archive with its content.</summary>
internal sealed record NewcMember(string Path, uint Inode, uint Mode, uint Uid, uint Gid, uint Links, uint Time, byte[] Content)
{
    public string Text => Encoding.UTF8.GetString(Content);

    public uint Permissions => Mode & 0xFFF;

    public char Kind => (Mode >> 12) switch { 4 => 'd', 8 => '-', 10 => 'l', _ => '?' };
}

/// <summary>A reader of its own, written from the format's description, so that writer and reader of the product cannot agree on a mistake.</summary>
internal static class Newc
{
    public static List<NewcMember> Read(byte[] archive)
    {
        var members = new List<NewcMember>();
        for (var at = 0; ;)
        {
            Assert.Equal(0, at % 4);
            Assert.Equal("070701", Encoding.ASCII.GetString(archive, at, 6));
            var fields = Enumerable.Range(0, 13)
                .Select(i => uint.Parse(Encoding.ASCII.GetString(archive, at + 6 + (i * 8), 8), NumberStyles.HexNumber, CultureInfo.InvariantCulture))
                .ToArray();
            var name = Encoding.UTF8.GetString(archive, at + 110, (int)fields[11] - 1);
            Assert.Equal(0, archive[at + 110 + fields[11] - 1]);
            var start = Align(at + 110 + (int)fields[11]);
            var end = start + (int)fields[6];
            if (name == "TRAILER!!!")
            {
                Assert.Equal(archive.Length, end);
                return members;
            }

            members.Add(new NewcMember(name, fields[0], fields[1], fields[2], fields[3], fields[4], fields[5], archive[start..end]));
            at = Align(end);
        }
    }

    private static int Align(int offset) => (offset + 3) / 4 * 4;
}
