using System.ComponentModel;
using System.Runtime.InteropServices;

namespace Volant.Linux.Files;

/// <summary>Whose a file is.</summary>
public static partial class FileOwner
{
    /// <summary>Gives a file away (<c>chown(2)</c>); follows symbolic links.</summary>
    /// <exception cref="Win32Exception">EPERM: needs CAP_CHOWN; ENOENT: it is not there.</exception>
    public static void Set(string path, uint uid, uint gid) => LinuxError.Check(ChangeOwner(path, uid, gid), $"Giving '{path}' to user {uid}");

    [LibraryImport("libc", EntryPoint = "chown", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int ChangeOwner(string path, uint uid, uint gid);
}
