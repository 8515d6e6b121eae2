using System.ComponentModel;
using System.Formats.Tar;
using System.Text;
using Volant.Linux;
using Volant.Linux.Files;

namespace Volant.Agent.Files;

/// <summary>Unpacks a tar archive into a directory and never outside of it, whatever the archive says.</summary>
/// <remarks>
/// Every directory on the way is looked up by the kernel below the target in one step, links that lead out are refused, and files are made anew, never
/// written through. Directories that are there already keep their owner and permissions. What is refused ends the unpacking; what came before stays.
/// </remarks>
/// <param name="target">The directory.</param>
/// <param name="isNew">Whether it was made for the archive.</param>
/// <param name="lookup">How paths in the archive are looked up.</param>
/// <param name="attributes">Owner of everything, in place of the archive's.</param>
internal sealed class TarUnpacker(DirectoryHandle target, bool isNew, PathLookup lookup, FileAttributes attributes)
{
    /// <summary>Most entries of an archive.</summary>
    public const int MaxEntries = 1_000_000;

    private const int DefaultDirectoryMode = 0b111_101_101;
    private const int MaxDepth = 128;

    /// <summary>Unpacks the whole archive.</summary>
    /// <exception cref="FileException">The archive is broken, or leads out.</exception>
    /// <exception cref="Win32Exception">The kernel refused.</exception>
    public async Task UnpackAsync(Stream archive, CancellationToken cancellationToken)
    {
        await using var reader = new TarReader(archive, leaveOpen: true);
        var count = 0;
        while (await NextAsync(reader, cancellationToken) is { } entry)
        {
            if (++count > MaxEntries)
            {
                throw FileException.Invalid($"The archive has more than {MaxEntries} entries.");
            }

            if (entry.EntryType != TarEntryType.GlobalExtendedAttributes)
            {
                await UnpackAsync(entry, cancellationToken);
            }
        }
    }

    private static async Task<TarEntry?> NextAsync(TarReader reader, CancellationToken cancellationToken)
    {
        try
        {
            return await reader.GetNextEntryAsync(copyData: false, cancellationToken);
        }
        catch (Exception e) when (e is InvalidDataException or EndOfStreamException or FormatException or ArgumentException or OverflowException or NotSupportedException)
        {
            throw FileException.Invalid($"The body is not a whole tar archive: {e.Message}");
        }
    }

    private async Task UnpackAsync(TarEntry entry, CancellationToken cancellationToken)
    {
        var parts = Split(entry.Name, entry);
        if (parts.Length == 0)
        {
            // The directory itself.
            if (entry.EntryType == TarEntryType.Directory && isNew)
            {
                target.SetOwner(Owner(entry.Uid, attributes.Uid), Owner(entry.Gid, attributes.Gid));
                target.SetMode(attributes.Mode ?? (int)entry.Mode);
            }

            return;
        }

        var name = Encoding.UTF8.GetBytes(parts[^1]);
        using var parent = OpenParent(parts);
        switch (entry.EntryType)
        {
            case TarEntryType.Directory:
                MakeDirectory(parent, name, entry);
                break;
            case TarEntryType.RegularFile or TarEntryType.V7RegularFile or TarEntryType.ContiguousFile:
                await MakeFileAsync(parent, name, entry, cancellationToken);
                break;
            case TarEntryType.SymbolicLink:
                RemoveFile(parent, name);
                parent.CreateLink(name, entry.LinkName);
                parent.SetOwner(name, Owner(entry.Uid, attributes.Uid), Owner(entry.Gid, attributes.Gid));
                break;
            case TarEntryType.HardLink:
                MakeHardLink(parent, name, entry);
                break;
            default:
                throw FileException.Invalid($"The archive's entry '{entry.Name}' is of the kind {entry.EntryType}; only files, directories and links are unpacked.");
        }
    }

    private void MakeDirectory(DirectoryHandle parent, byte[] name, TarEntry entry)
    {
        if (!parent.CreateDirectory(name, DefaultDirectoryMode))
        {
            // A link is looked through when something is put below it.
            if (parent.Stat(name).Kind is not (FileKind.Directory or FileKind.SymbolicLink))
            {
                throw FileException.Conflict($"'{DirectoryHandle.Show(name)}' is a directory in the archive, and something else in the guest; remove one of them.");
            }

            return;
        }

        using var directory = parent.OpenDirectory(name);
        directory.SetOwner(Owner(entry.Uid, attributes.Uid), Owner(entry.Gid, attributes.Gid));
        directory.SetMode((int)entry.Mode);
    }

    private async Task MakeFileAsync(DirectoryHandle parent, byte[] name, TarEntry entry, CancellationToken cancellationToken)
    {
        RemoveFile(parent, name);
        var file = parent.CreateFile(name);
        await using (var stream = new FileStream(file, FileAccess.Write, bufferSize: 0))
        {
            if (entry.DataStream is { } content)
            {
                try
                {
                    await FileWriter.CopyAsync(content, stream, cancellationToken);
                }
                catch (Exception e) when (e is EndOfStreamException or InvalidDataException)
                {
                    throw FileException.Invalid($"The archive broke off in '{entry.Name}': {e.Message}");
                }
            }

            DirectoryHandle.SetOwner(file, Owner(entry.Uid, attributes.Uid), Owner(entry.Gid, attributes.Gid));
            DirectoryHandle.SetMode(file, (int)entry.Mode);
        }

        parent.SetModified(name, entry.ModificationTime);
    }

    private void MakeHardLink(DirectoryHandle parent, byte[] name, TarEntry entry)
    {
        var from = Split(entry.LinkName, entry);
        if (from.Length == 0)
        {
            throw FileException.Invalid($"The archive's entry '{entry.Name}' is a link to nothing.");
        }

        RemoveFile(parent, name);
        using var other = OpenParent(from);
        parent.CreateHardLink(name, other, Encoding.UTF8.GetBytes(from[^1]));
    }

    /// <summary>Opens the directory that an entry belongs into, and makes what is missing of it.</summary>
    private DirectoryHandle OpenParent(string[] parts)
    {
        if (parts.Length > MaxDepth)
        {
            throw FileException.Invalid($"The archive's entry '{string.Join('/', parts)[..80]}…' is deeper than {MaxDepth} directories.");
        }

        var path = parts.Length == 1 ? "." : string.Join('/', parts[..^1]);
        try
        {
            return target.OpenDirectory(path, lookup);
        }
        catch (Win32Exception e) when (e.NativeErrorCode == Errno.NoEntry)
        {
            using (var above = OpenParent(parts[..^1]))
            {
                above.CreateDirectory(Encoding.UTF8.GetBytes(parts[^2]), DefaultDirectoryMode);
            }

            return target.OpenDirectory(path, lookup);
        }
    }

    /// <summary>The parts of a name; none for the target itself.</summary>
    private static string[] Split(string name, TarEntry entry)
    {
        var parts = name.Split('/', StringSplitOptions.RemoveEmptyEntries).Where(part => part != ".").ToArray();
        return name.StartsWith('/') || parts.Contains("..", StringComparer.Ordinal)
            ? throw FileException.Invalid($"The archive's entry '{entry.Name}' leads out of the directory ('{name}'); names must be relative and without '..'.")
            : parts;
    }

    private static void RemoveFile(DirectoryHandle parent, byte[] name)
    {
        try
        {
            parent.Remove(name, isDirectory: false);
        }
        catch (Win32Exception e) when (e.NativeErrorCode is Errno.IsDirectory or Errno.NotPermitted)
        {
            throw FileException.Conflict($"'{DirectoryHandle.Show(name)}' is a directory, and a file in the archive; remove one of them.");
        }
    }

    private static uint Owner(int id, uint? wanted) => wanted ?? (uint)Math.Max(id, 0);
}
