using System.ComponentModel;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;

namespace Volant.Linux.Kernel;

/// <summary>Which kernel runs.</summary>
public static unsafe partial class KernelVersion
{
    /// <summary>Size of each of the six fields of <c>struct utsname</c> (<c>__NEW_UTS_LEN</c> and a NUL).</summary>
    internal const int FieldSize = 65;

    private const int ReleaseField = 2;
    private const int MachineField = 4;

    /// <summary>Release as in <c>uname -r</c>, the name of the directory under <c>/lib/modules</c>.</summary>
    /// <exception cref="Win32Exception">The kernel refused.</exception>
    public static string Release => Read(ReleaseField);

    /// <summary>Architecture as in <c>uname -m</c>, such as <c>x86_64</c>.</summary>
    /// <exception cref="Win32Exception">The kernel refused.</exception>
    public static string Machine => Read(MachineField);

    private static string Read(int field)
    {
        UnameBuffer buffer = default;
        LinuxError.Check(Uname(&buffer), "uname");
        var text = ((ReadOnlySpan<byte>)buffer).Slice(field * FieldSize, FieldSize);
        var end = text.IndexOf((byte)0);
        return Encoding.UTF8.GetString(end < 0 ? text : text[..end]);
    }

    [LibraryImport("libc", EntryPoint = "uname", SetLastError = true)]
    private static partial int Uname(UnameBuffer* buffer);

    /// <summary><c>struct utsname</c>, 390 bytes.</summary>
    [InlineArray(6 * FieldSize)]
    internal struct UnameBuffer
    {
        private byte _first;
    }
}
