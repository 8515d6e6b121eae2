using System.ComponentModel;
using System.Text;
using Volant.Linux;
using Volant.Linux.Files;

namespace Volant.Agent.Files;

/// <summary>The directory that holds a file, and its name there; the file need not exist.</summary>
/// <param name="Parent">The directory; to be disposed of.</param>
/// <param name="Name">Name in it.</param>
internal sealed record GuestPlace(DirectoryHandle Parent, byte[] Name) : IDisposable
{
    /// <inheritdoc/>
    public void Dispose() => Parent.Dispose();
}

/// <summary>Looks paths of the guest up. They are absolute and end at the root, as the kernel's own look-ups do.</summary>
internal static class GuestPath
{
    /// <summary>Longest path in bytes (PATH_MAX without its NUL).</summary>
    public const int MaxBytes = 4095;

    private const int MaxLinks = 40;
    private const int ParentMode = 0b111_101_101;

    /// <summary>Why a text is no path; null when it is one.</summary>
    public static string? FaultOf(string? path) =>
        path is null or "" ? "'path' is missing: the absolute path of a file in the guest."
        : !path.StartsWith('/') || path.Contains('\0', StringComparison.Ordinal) || Encoding.UTF8.GetByteCount(path) > MaxBytes
            ? $"'path' must be an absolute path of at most {MaxBytes} bytes, without a NUL character."
            : null;

    /// <summary>Finds the place of a file; the end of links when it is one.</summary>
    /// <param name="root">The guest's root.</param>
    /// <param name="path">Absolute path.</param>
    /// <param name="follow">Whether a link at the end is followed.</param>
    /// <param name="makeParents">Whether missing directories on the way are made.</param>
    /// <exception cref="FileException">The path names no entry of a directory, such as <c>/</c> or <c>..</c>.</exception>
    public static GuestPlace Locate(DirectoryHandle root, string path, bool follow, bool makeParents = false)
    {
        for (var links = 0; links <= MaxLinks; links++)
        {
            var trimmed = path.TrimEnd('/');
            var slash = trimmed.LastIndexOf('/');
            var name = trimmed[(slash + 1)..];
            var above = slash > 0 ? trimmed[..slash] : "/";
            if (name is "" or "." or "..")
            {
                throw FileException.Conflict($"'{path}' cannot be made, replaced or removed; name an entry of a directory.");
            }

            var place = new GuestPlace(OpenParent(root, above, makeParents), Encoding.UTF8.GetBytes(name));
            if (!follow || LinkOf(place) is not { } target)
            {
                return place;
            }

            // Not simplified: what '..' means after a link only the kernel knows.
            path = target.StartsWith('/') ? target : $"{above}/{target}";
        }

        throw FileException.Conflict($"'{path}' leads through more than {MaxLinks} symbolic links.");
    }

    private static string? LinkOf(GuestPlace place)
    {
        try
        {
            if (place.Parent.Stat(place.Name).Kind != FileKind.SymbolicLink)
            {
                return null;
            }

            var target = place.Parent.ReadLink(place.Name);
            place.Dispose();
            return target;
        }
        catch (Win32Exception e) when (e.NativeErrorCode == Errno.NoEntry)
        {
            return null;
        }
        catch
        {
            place.Dispose();
            throw;
        }
    }

    private static DirectoryHandle OpenParent(DirectoryHandle root, string path, bool make)
    {
        try
        {
            return root.OpenDirectory(path, PathLookup.InRoot);
        }
        catch (Win32Exception e) when (make && e.NativeErrorCode == Errno.NoEntry && path != "/")
        {
            using var place = Locate(root, path, follow: true, makeParents: true);
            place.Parent.CreateDirectory(place.Name, ParentMode);
            return root.OpenDirectory(path, PathLookup.InRoot);
        }
    }
}
