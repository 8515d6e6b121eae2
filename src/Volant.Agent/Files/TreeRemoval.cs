using System.ComponentModel;
using Volant.Linux;
using Volant.Linux.Files;

namespace Volant.Agent.Files;

/// <summary>Removes a directory with all that is in it, however deep; mounts are not entered.</summary>
internal static class TreeRemoval
{
    // Each level holds a descriptor and a stack frame; what lies deeper is moved up first.
    private const int MaxDepth = 64;

    /// <summary>Removes it.</summary>
    /// <exception cref="Win32Exception">EBUSY: something is mounted inside; what came before is gone.</exception>
    public static void Remove(DirectoryHandle parent, byte[] name, CancellationToken cancellationToken)
    {
        using (var top = parent.OpenDirectory(name))
        {
            // Moved entries appear in the top directory, perhaps behind the place where it is being read.
            while (Empty(top, top, MaxDepth, cancellationToken))
            {
            }
        }

        parent.Remove(name, isDirectory: true);
    }

    /// <summary>Empties a directory; true when something was moved to the top.</summary>
    private static bool Empty(DirectoryHandle directory, DirectoryHandle top, int depth, CancellationToken cancellationToken)
    {
        var hasMoved = false;
        foreach (var name in directory.List())
        {
            cancellationToken.ThrowIfCancellationRequested();
            if (TryRemoveFile(directory, name))
            {
                continue;
            }

            if (depth == 0)
            {
                directory.Rename(name, top, FileWriter.TemporaryName());
                hasMoved = true;
                continue;
            }

            using (var below = Open(directory, name))
            {
                hasMoved |= Empty(below, top, depth - 1, cancellationToken);
            }

            directory.Remove(name, isDirectory: true);
        }

        return hasMoved;
    }

    private static DirectoryHandle Open(DirectoryHandle directory, byte[] name)
    {
        try
        {
            return directory.OpenDirectory(name);
        }
        catch (Win32Exception e) when (e.NativeErrorCode == Errno.CrossDevice)
        {
            throw FileException.Conflict($"Something is mounted on '{DirectoryHandle.Show(name)}'; unmount it in the guest first.");
        }
    }

    /// <summary>False when it is a directory.</summary>
    private static bool TryRemoveFile(DirectoryHandle directory, byte[] name)
    {
        try
        {
            directory.Remove(name, isDirectory: false);
            return true;
        }
        catch (Win32Exception e) when (e.NativeErrorCode is Errno.IsDirectory or Errno.NotPermitted)
        {
            return false;
        }
    }
}
