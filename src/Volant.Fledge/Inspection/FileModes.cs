using Volant.Fledge.Cpio;

namespace Volant.Fledge.Inspection;

/// <summary>Modes of files as <c>ls -l</c> shows them.</summary>
internal static class FileModes
{
    /// <summary>Ten characters.</summary>
    public static string Text(int mode)
    {
        var kind = (mode & CpioFormat.TypeMask) switch
        {
            CpioFormat.TypeDirectory => 'd',
            CpioFormat.TypeFile => '-',
            CpioFormat.TypeSymlink => 'l',
            0x2000 => 'c',
            0x6000 => 'b',
            0x1000 => 'p',
            0xC000 => 's',
            _ => '?',
        };
        Span<char> text = stackalloc char[10];
        text[0] = kind;
        for (var i = 0; i < 9; i++)
        {
            text[i + 1] = (mode & (0x100 >> i)) != 0 ? "rwxrwxrwx"[i] : '-';
        }

        Special(text, 3, (mode & 0x800) != 0, 's');
        Special(text, 6, (mode & 0x400) != 0, 's');
        Special(text, 9, (mode & 0x200) != 0, 't');
        return new string(text);
    }

    private static void Special(Span<char> text, int place, bool isSet, char letter)
    {
        if (isSet)
        {
            text[place] = text[place] == 'x' ? letter : char.ToUpperInvariant(letter);
        }
    }
}
