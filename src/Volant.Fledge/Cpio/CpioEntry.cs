namespace Volant.Fledge.Cpio;

/// <summary>One member of an archive. Owner and group are always 0 and the modification time is always the epoch.</summary>
internal sealed record CpioEntry
{
    private CpioEntry(string path, int mode, long sizeBytes)
    {
        Path = path;
        Mode = mode;
        SizeBytes = sizeBytes;
    }

    /// <summary>Path without a leading slash: <c>bin/busybox</c>.</summary>
    public string Path { get; }

    /// <summary>File type and permission bits as in <c>stat(2)</c>.</summary>
    public int Mode { get; }

    /// <summary>Length of the content: 0 for a directory, the target's length in bytes for a symbolic link.</summary>
    public long SizeBytes { get; }

    /// <summary>File on the host that holds the content; null when <see cref="Data"/> holds it.</summary>
    public string? HostFile { get; private init; }

    /// <summary>The content when it is small and made here.</summary>
    public ReadOnlyMemory<byte> Data { get; private init; }

    /// <summary>A directory.</summary>
    public static CpioEntry Directory(string path, int permissions) => new(path, CpioFormat.TypeDirectory | permissions, 0);

    /// <summary>A regular file whose content is read from the host when it is written.</summary>
    public static CpioEntry File(string path, int permissions, string hostFile, long sizeBytes) =>
        new(path, CpioFormat.TypeFile | permissions, sizeBytes) { HostFile = hostFile };

    /// <summary>A regular file with the given content.</summary>
    public static CpioEntry File(string path, int permissions, ReadOnlyMemory<byte> data) =>
        new(path, CpioFormat.TypeFile | permissions, data.Length) { Data = data };

    /// <summary>A symbolic link.</summary>
    public static CpioEntry Symlink(string path, string target)
    {
        var bytes = CpioFormat.Text.GetBytes(target);
        return new CpioEntry(path, CpioFormat.TypeSymlink | Permissions.Access, bytes.Length) { Data = bytes };
    }
}
