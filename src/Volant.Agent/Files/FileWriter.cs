using System.ComponentModel;
using System.Text;
using Volant.Linux;
using Volant.Linux.Files;
using Volant.Linux.Kernel;

namespace Volant.Agent.Files;

/// <summary>What a new or replaced file shall have; null keeps what is, or means the default.</summary>
/// <param name="Mode">Permissions, 0 to 07777.</param>
/// <param name="Uid">Owner.</param>
/// <param name="Gid">Group.</param>
internal sealed record FileAttributes(int? Mode, uint? Uid, uint? Gid);

/// <summary>Writes a file whole or not at all: beside it first, then in its place.</summary>
internal static class FileWriter
{
    private const int DefaultMode = 0b110_100_100;
    private const int CopySize = 64 * 1024;
    private const int RandomBytes = 8;

    /// <summary>Makes or replaces a file; true when it is new.</summary>
    public static async Task<bool> WriteAsync(GuestPlace place, Stream content, FileAttributes attributes, CancellationToken cancellationToken)
    {
        var before = Find(place);
        if (before is { Kind: not FileKind.Regular and var kind })
        {
            throw FileException.Conflict($"'{DirectoryHandle.Show(place.Name)}' is a {Words(kind)}, not a regular file.");
        }

        var temporary = TemporaryName();
        var file = place.Parent.CreateFile(temporary);
        try
        {
            await using (var stream = new FileStream(file, FileAccess.Write, bufferSize: 0))
            {
                await CopyAsync(content, stream, cancellationToken);
                DirectoryHandle.SetOwner(file, attributes.Uid ?? before?.Uid ?? 0, attributes.Gid ?? before?.Gid ?? 0);
                DirectoryHandle.SetMode(file, attributes.Mode ?? before?.Mode ?? DefaultMode);
            }

            place.Parent.Rename(temporary, place.Parent, place.Name);
            return before is null;
        }
        catch
        {
            place.Parent.Remove(temporary, isDirectory: false);
            throw;
        }
    }

    /// <summary>Copies until the end.</summary>
    public static async Task CopyAsync(Stream from, Stream to, CancellationToken cancellationToken)
    {
        var buffer = new byte[CopySize];
        while (await from.ReadAsync(buffer, cancellationToken) is > 0 and var count)
        {
            // Not with the token: a file has no half writes.
            await to.WriteAsync(buffer.AsMemory(0, count), CancellationToken.None);
        }
    }

    /// <summary>What is at a place; null when nothing is.</summary>
    public static FileFacts? Find(GuestPlace place)
    {
        try
        {
            return place.Parent.Stat(place.Name);
        }
        catch (Win32Exception e) when (e.NativeErrorCode == Errno.NoEntry)
        {
            return null;
        }
    }

    /// <summary>A name that nobody else has.</summary>
    public static byte[] TemporaryName()
    {
        Span<byte> random = stackalloc byte[RandomBytes];
        KernelRandom.Fill(random);
        return Encoding.ASCII.GetBytes($".volant-{Convert.ToHexStringLower(random)}");
    }

    /// <summary>A kind in words.</summary>
    public static string Words(FileKind kind) => kind switch
    {
        FileKind.Regular => "regular file",
        FileKind.Directory => "directory",
        FileKind.SymbolicLink => "symbolic link",
        FileKind.Pipe => "named pipe",
        FileKind.Socket => "socket",
        _ => "device",
    };
}
