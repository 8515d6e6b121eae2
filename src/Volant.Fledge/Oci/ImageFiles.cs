using Microsoft.Win32.SafeHandles;
using Volant.Fledge.Tar;

namespace Volant.Fledge.Oci;

/// <summary>Files of an image by relative path: of a directory, or of a tar archive.</summary>
internal interface IImageFiles : IDisposable
{
    /// <summary>Opens a file; null when there is none.</summary>
    Stream? Open(string path);
}

/// <summary>Files below a directory; a path that leads out of it names nothing.</summary>
internal sealed class DirectoryFiles(string directory) : IImageFiles
{
    public Stream? Open(string path)
    {
        var full = Path.GetFullPath(path, directory);
        if (!full.StartsWith(directory.TrimEnd('/') + "/", StringComparison.Ordinal) || !File.Exists(full))
        {
            return null;
        }

        var file = File.OpenHandle(full);
        return new FileRange(file, 0, RandomAccess.GetLength(file), ownsFile: true);
    }

    public void Dispose()
    {
    }
}

/// <summary>Files of a tar archive, which is read once to find them and then in place.</summary>
internal sealed class ArchiveFiles : IImageFiles
{
    private const int MaxMembers = 100_000;
    private const int MaxLinks = 8;

    private readonly SafeFileHandle _file;
    private readonly Dictionary<string, (long Start, long Length)> _members = new(StringComparer.Ordinal);
    private readonly Dictionary<string, string> _links = new(StringComparer.Ordinal);

    /// <summary>Opens the archive and finds its members.</summary>
    /// <exception cref="FledgeException">It is damaged, compressed, or holds too much.</exception>
    public ArchiveFiles(string path)
    {
        _file = File.OpenHandle(path);
        try
        {
            Scan(path);
        }
        catch
        {
            _file.Dispose();
            throw;
        }
    }

    public Stream? Open(string path)
    {
        var name = Normal(path, string.Empty);
        for (var i = 0; i < MaxLinks && _links.TryGetValue(name, out var target); i++)
        {
            name = target;
        }

        return _members.TryGetValue(name, out var member) ? new FileRange(_file, member.Start, member.Length, ownsFile: false) : null;
    }

    public void Dispose() => _file.Dispose();

    private void Scan(string path)
    {
        using var stream = new FileRange(_file, 0, RandomAccess.GetLength(_file), ownsFile: false);
        Span<byte> magic = stackalloc byte[2];
        if (stream.ReadAtLeast(magic, 2, throwOnEndOfStream: false) == 2 && magic is [0x1f, 0x8b])
        {
            throw new FledgeException($"'{path}' is compressed with gzip; unpack it first: gunzip.");
        }

        stream.Position = 0;
        var reader = new TarReader(stream);
        while (reader.Next() is { } entry)
        {
            if (_members.Count + _links.Count >= MaxMembers)
            {
                throw new FledgeException($"'{path}' has more than {MaxMembers} members, which no image has.");
            }

            var name = Normal(ByteText.Decode(entry.Name), string.Empty);
            switch (entry.Kind)
            {
                case TarKind.File when stream.Position + entry.SizeBytes > stream.Length:
                    throw new FledgeException($"'{path}' ends in the middle of '{ByteText.Show(entry.Name)}'; it is truncated.");
                case TarKind.File:
                    _members[name] = (stream.Position, entry.SizeBytes);
                    break;
                case TarKind.SymbolicLink:
                    _links[name] = Normal(ByteText.Decode(entry.LinkName), Path.GetDirectoryName(name) ?? string.Empty);
                    break;
                case TarKind.HardLink:
                    _links[name] = Normal(ByteText.Decode(entry.LinkName), string.Empty);
                    break;
                default:
                    break;
            }
        }
    }

    /// <summary>A path without <c>.</c> and <c>..</c>, relative to the archive's root.</summary>
    private static string Normal(string path, string directory) => Path.GetFullPath(path, "/" + directory)[1..];
}
