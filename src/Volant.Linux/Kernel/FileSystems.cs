using System.Runtime.InteropServices;

namespace Volant.Linux.Kernel;

/// <summary>All mounted file systems.</summary>
public static partial class FileSystems
{
    /// <summary>Writes everything that is still in memory to the disks, and waits for it. Never fails.</summary>
    public static void Sync() => SyncCall();

    [LibraryImport("libc", EntryPoint = "sync")]
    private static partial void SyncCall();
}
