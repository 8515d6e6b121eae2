using Microsoft.Win32.SafeHandles;
using Volant.Linux.Files;

namespace Volant.Fledge.Output;

/// <summary>A file that appears under its name complete or not at all.</summary>
/// <remarks>
/// Written beside its final place, flushed to disk and renamed; disposing before <see cref="Commit"/> leaves nothing behind. What a killed program
/// left is removed by the next one that writes the same file.
/// </remarks>
internal sealed class PendingFile : IDisposable
{
    private const UnixFileMode Published =
        UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead | UnixFileMode.OtherRead;

    private const string Suffix = ".part";

    /// <summary>Leftovers younger than this may belong to a program that has not locked them yet.</summary>
    private static readonly TimeSpan Young = TimeSpan.FromMinutes(1);

    private readonly string _temporary;
    private readonly FileStream _file;
    private bool _committed;

    private PendingFile(string path, string temporary, FileStream file)
    {
        Path = path;
        _temporary = temporary;
        _file = file;
    }

    /// <summary>Absolute path that the file will have.</summary>
    public string Path { get; }

    /// <summary>Where the content is written to.</summary>
    public Stream Stream => _file;

    /// <summary>The same, for reading and writing at any place; not to be mixed with <see cref="Stream"/>.</summary>
    public SafeFileHandle Handle => _file.SafeFileHandle;

    /// <summary>The name that it has until then, for programs that write it.</summary>
    public string TemporaryPath => _temporary;

    /// <summary>Opens the temporary file; its directory must exist.</summary>
    /// <exception cref="FledgeException">The directory is missing or not writable, or the name is taken by a directory.</exception>
    public static PendingFile Create(string path)
    {
        var full = System.IO.Path.GetFullPath(path);
        if (Directory.Exists(full))
        {
            throw new FledgeException($"Cannot write '{full}': it is a directory. Remove it or choose another --output.");
        }

        var directory = System.IO.Path.GetDirectoryName(full) ?? "/";
        var temporary = System.IO.Path.Combine(directory, $".{System.IO.Path.GetFileName(full)}.{Guid.NewGuid():N}{Suffix}");
        try
        {
            var file = new FileStream(temporary, new FileStreamOptions
            {
                Mode = FileMode.CreateNew,
                Access = FileAccess.ReadWrite,
                Share = FileShare.None,
                BufferSize = 256 * 1024,
                UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite,
            });
            RemoveLeftovers(full, temporary);
            return new PendingFile(full, temporary, file);
        }
        catch (DirectoryNotFoundException e)
        {
            throw new FledgeException($"Cannot write '{full}': the directory '{directory}' does not exist. Create it or choose another --output.", e);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new FledgeException($"Cannot write '{full}': {e.Message}", e);
        }
    }

    /// <summary>Removes older temporary files of the same name that nobody holds open.</summary>
    private static void RemoveLeftovers(string full, string own)
    {
        var now = File.GetLastWriteTimeUtc(own);
        var pattern = $".{System.IO.Path.GetFileName(full)}.{new string('?', 32)}{Suffix}";

        // Exactly so many characters: by default a '?' also stands for none, as in DOS.
        var exact = new EnumerationOptions { MatchType = MatchType.Simple, AttributesToSkip = FileAttributes.None };
        foreach (var leftover in Directory.EnumerateFiles(System.IO.Path.GetDirectoryName(full) ?? "/", pattern, exact))
        {
            try
            {
                if (now - File.GetLastWriteTimeUtc(leftover) > Young)
                {
                    // A program that still writes it holds its lock, and opening fails.
                    using var abandoned = new FileStream(leftover, FileMode.Open, FileAccess.ReadWrite, FileShare.None);
                    File.Delete(leftover);
                }
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // In use, gone meanwhile, or another user's: not ours to remove.
            }
        }
    }

    /// <summary>Makes the file appear under its name, readable by everyone whatever the umask.</summary>
    public void Commit()
    {
        Finish();
        Publish();
    }

    /// <summary>Makes both files of a result appear; of two results of one name at once, both are of one or both of the other.</summary>
    /// <param name="other">A file in the same directory.</param>
    public void CommitWith(PendingFile other)
    {
        Finish();
        other.Finish();
        using var directory = DirectoryHandle.Open(System.IO.Path.GetDirectoryName(Path) ?? "/");
        directory.Lock();
        Publish();
        other.Publish();
    }

    private void Finish()
    {
        File.SetUnixFileMode(_file.SafeFileHandle, Published);
        _file.Flush(flushToDisk: true);
        _file.Dispose();
    }

    private void Publish()
    {
        File.Move(_temporary, Path, overwrite: true);
        _committed = true;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _file.Dispose();
        if (!_committed)
        {
            File.Delete(_temporary);
        }
    }
}
