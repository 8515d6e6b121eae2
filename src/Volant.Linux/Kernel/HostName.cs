using System.ComponentModel;
using System.Runtime.InteropServices;
using System.Text;

namespace Volant.Linux.Kernel;

/// <summary>The host name of this UTS namespace.</summary>
public static partial class HostName
{
    /// <summary>Longest name in bytes (<c>__NEW_UTS_LEN</c>).</summary>
    public const int MaxLength = 64;

    /// <summary>Sets the name.</summary>
    /// <exception cref="Win32Exception">EPERM: needs CAP_SYS_ADMIN; EINVAL: longer than 64 bytes.</exception>
    public static void Set(string name)
    {
        ArgumentException.ThrowIfNullOrEmpty(name);
        LinuxError.Check(SetHostName(name, (nuint)Encoding.UTF8.GetByteCount(name)), $"Setting the host name to '{name}'");
    }

    [LibraryImport("libc", EntryPoint = "sethostname", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int SetHostName(string name, nuint length);
}
