using Volant.Fledge.Cpio;

namespace Volant.Fledge.Configuration;

/// <summary>Rules of paths inside the guest.</summary>
internal static class GuestPaths
{
    private static readonly string[] ProgramDirectories = ["/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/local/bin"];

    /// <summary>What is wrong with a path of a mapping; null when it is good.</summary>
    public static string? Fault(string path)
    {
        if (!path.StartsWith('/'))
        {
            return $"must be an absolute path in the guest, not '{path}'";
        }

        if (path == "/")
        {
            return null;
        }

        if (path.Any(char.IsControl))
        {
            return "must not contain control characters";
        }

        if (CpioFormat.Text.GetByteCount(path) > CpioFormat.MaxPathBytes)
        {
            return $"must be at most {CpioFormat.MaxPathBytes} bytes";
        }

        var segments = (path.EndsWith('/') ? path[1..^1] : path[1..]).Split('/');
        return segments.Any(segment => segment is "" or "." or "..")
            ? $"must not contain empty segments, '.' or '..', as '{path}' does"
            : null;
    }

    /// <summary>The mode that a mapped file gets: 0755 for programs and libraries by their place, else its own.</summary>
    public static int FileMode(string guestPath, int hostMode) => IsProgramOrLibrary(guestPath) ? Permissions.Octal0755 | (hostMode & ~Permissions.Access) : hostMode;

    private static bool IsProgramOrLibrary(string path)
    {
        if (ProgramDirectories.Any(directory => path.StartsWith(directory + "/", StringComparison.Ordinal)))
        {
            return true;
        }

        // "/lib*" is /lib, /lib64, /lib32 … and what lies below; a file directly in / such as /library.txt is none of it.
        return path.StartsWith("/lib", StringComparison.Ordinal) && path.LastIndexOf('/') > 0;
    }
}
