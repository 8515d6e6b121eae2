using System.Formats.Tar;
using Volant.Linux.IO;

namespace Volant.Cli.Guests;

/// <summary>Unpacks the archive of a guest, which is hostile: nothing outside of the directory is touched.</summary>
/// <remarks>
/// Names that are absolute or climb are refused, symbolic links are made after everything else and never written through, owners are those of the user,
/// set-ID bits are dropped, devices and pipes are left out. The directory must be one that nobody else writes to meanwhile.
/// </remarks>
/// <param name="directory">Absolute path of an existing directory.</param>
/// <param name="skipped">Told what is left out.</param>
/// <param name="progress">Told how many bytes were written.</param>
internal sealed class TarUnpacker(string directory, Action<string> skipped, Action<long> progress)
{
    private const UnixFileMode Permissions = (UnixFileMode)0x1ff;
    private const UnixFileMode Usable = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;

    private readonly List<(string Path, string Target)> _links = [];
    private readonly List<(string Path, UnixFileMode Mode)> _directories = [];

    /// <summary>Unpacks everything.</summary>
    /// <exception cref="CliException">The archive is broken or names something outside.</exception>
    public async Task UnpackAsync(Stream archive, CancellationToken cancellationToken)
    {
        var written = 0L;
        try
        {
            await using var tar = new TarReader(archive, leaveOpen: true);
            while (await tar.GetNextEntryAsync(copyData: false, cancellationToken) is { } entry)
            {
                await TakeAsync(entry, cancellationToken);
                written += entry.Length;
                progress(written);
            }
        }
        catch (Exception e) when (e is InvalidDataException or FormatException or EndOfStreamException)
        {
            throw CliException.Failed($"The archive is broken: {e.Message}", e);
        }

        foreach (var (path, target) in _links)
        {
            Remove(path);
            File.CreateSymbolicLink(path, target);
        }

        // Last and from the inside out: a directory without write permission would refuse what belongs into it.
        _directories.Reverse();
        foreach (var (path, mode) in _directories.Where(each => LinkStatus.Find(each.Path) is { Kind: LinkKind.Directory }))
        {
            File.SetUnixFileMode(path, mode);
        }
    }

    private async Task TakeAsync(TarEntry entry, CancellationToken cancellationToken)
    {
        if (entry.EntryType is TarEntryType.GlobalExtendedAttributes)
        {
            return;
        }

        var path = Resolve(entry.Name);
        switch (entry.EntryType)
        {
            case TarEntryType.Directory:
                MakeDirectory(path);
                _directories.Add((path, entry.Mode & Permissions));
                break;
            case TarEntryType.RegularFile or TarEntryType.V7RegularFile or TarEntryType.ContiguousFile:
                MakeDirectory(Path.GetDirectoryName(path)!);
                Remove(path);
                await using (var file = new FileStream(path, new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.Write, UnixCreateMode = (entry.Mode & Permissions) | UnixFileMode.UserWrite }))
                {
                    if (entry.DataStream is { } data)
                    {
                        await data.CopyToAsync(file, cancellationToken);
                    }
                }

                File.SetUnixFileMode(path, entry.Mode & Permissions);
                File.SetLastWriteTimeUtc(path, entry.ModificationTime.UtcDateTime);
                break;
            case TarEntryType.SymbolicLink:
                MakeDirectory(Path.GetDirectoryName(path)!);
                _links.Add((path, entry.LinkName));
                break;
            case TarEntryType.HardLink:
                var original = Resolve(entry.LinkName);
                if (LinkStatus.Find(original) is not { Kind: LinkKind.File })
                {
                    skipped(entry.Name);
                    break;
                }

                MakeDirectory(Path.GetDirectoryName(path)!);
                Remove(path);
                File.Copy(original, path);
                break;
            default:
                skipped(entry.Name);
                break;
        }
    }

    private string Resolve(string name)
    {
        if (name.Length == 0 || name.StartsWith('/') || name.Contains('\0', StringComparison.Ordinal) || name.Split('/').Contains("..", StringComparer.Ordinal))
        {
            throw CliException.Failed($"The archive names '{name}', which lies outside of it; nothing more is unpacked.");
        }

        return Path.TrimEndingDirectorySeparator(Path.GetFullPath(name, directory));
    }

    /// <summary>Makes a directory below ours; a link or a file on the way is refused.</summary>
    private void MakeDirectory(string path)
    {
        if (path == directory)
        {
            return;
        }

        MakeDirectory(Path.GetDirectoryName(path)!);
        switch (LinkStatus.Find(path))
        {
            case null:
                Directory.CreateDirectory(path, Usable);
                break;
            case { Kind: LinkKind.Directory }:
                break;
            default:
                throw CliException.Failed($"'{path}' is in the way of a directory of the archive; remove it first.");
        }
    }

    private static void Remove(string path)
    {
        switch (LinkStatus.Find(path))
        {
            case null:
                break;
            case { Kind: LinkKind.Directory }:
                throw CliException.Failed($"'{path}' is a directory where the archive has something else; remove it first.");
            default:
                File.Delete(path);
                break;
        }
    }
}
