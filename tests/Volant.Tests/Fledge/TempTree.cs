namespace Volant.Tests.Fledge;

/// <summary>A directory of a test's own, removed afterwards.</summary>
internal sealed class TempTree : IDisposable
{
    public TempTree() => Root = Directory.CreateTempSubdirectory("volant-fledge-").FullName;

    public string Root { get; }

    public string this[string path] => Path.Combine(Root, path);

    public string Write(string path, string text, UnixFileMode? mode = null) => Write(path, System.Text.Encoding.UTF8.GetBytes(text), mode);

    public string Write(string path, byte[] bytes, UnixFileMode? mode = null)
    {
        var full = this[path];
        Directory.CreateDirectory(Path.GetDirectoryName(full)!);
        File.WriteAllBytes(full, bytes);
        File.SetUnixFileMode(full, mode ?? (UnixFileMode)0x1A4);
        return full;
    }

    public string Link(string path, string target)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(this[path])!);
        File.CreateSymbolicLink(this[path], target);
        return this[path];
    }

    public string Make(string path) => Directory.CreateDirectory(this[path]).FullName;

    /// <summary>Names of everything in a directory, sorted.</summary>
    public string[] Names(string path = "") =>
        [.. Directory.GetFileSystemEntries(this[path]).Select(entry => Path.GetFileName(entry)).Order(StringComparer.Ordinal)];

    public void Dispose() => Directory.Delete(Root, recursive: true);
}
