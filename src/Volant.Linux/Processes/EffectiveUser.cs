using System.Runtime.InteropServices;

namespace Volant.Linux.Processes;

/// <summary>Whose rights this process has.</summary>
public static partial class EffectiveUser
{
    /// <summary>The user id that files are created with (<c>geteuid(2)</c>).</summary>
    public static uint Id => GetId();

    [LibraryImport("libc", EntryPoint = "geteuid")]
    private static partial uint GetId();
}
