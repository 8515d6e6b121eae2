using System.ComponentModel;
using System.Globalization;
using System.Text;
using Volant.Cli.Doctor;
using Volant.Linux.Files;
using Volant.Linux.IO;
using Volant.Linux.Processes;

namespace Volant.Cli.Setup;

/// <summary>What <c>volar setup</c> reads and changes on the host. Every failure is a <see cref="CliException"/> that names the object.</summary>
/// <param name="root">The host's files and programs.</param>
internal sealed class SetupHost(HostRoot root)
{
    /// <summary>Largest file that is read.</summary>
    public const int MaxFileBytes = 1024 * 1024;

    /// <summary>Where a path of the host really is.</summary>
    public string At(string path) => root.At(path);

    /// <summary>Whether this process may change the host.</summary>
    public bool MayChange => !root.IsHost || EffectiveUser.Id == 0;

    /// <summary>Whether systemd is what runs the services (<c>sd_booted(3)</c>).</summary>
    public bool RunsSystemd => Directory.Exists(At("/run/systemd/system"));

    /// <summary>Path, as on the host, of a program; null when there is none.</summary>
    public string? FindProgram(string name) => root.FindProgram(name);

    /// <summary>The small text of a file of the kernel; null when it cannot be read.</summary>
    public string? ReadWord(string path) => root.ReadWord(path);

    /// <summary>Status of a path itself; null when nothing is there.</summary>
    public LinkStatus? Find(string path) => Try(path, () => LinkStatus.Find(At(path)));

    /// <summary>Number of a user of this host; null when there is none of that name. <c>root</c> is who runs this.</summary>
    public uint? UserId(string name) => name == "root" ? EffectiveUser.Id : Entry("/etc/passwd", name) is { } fields ? Number(fields) : null;

    /// <summary>Number of a group of this host; null when there is none of that name. <c>root</c> is that of who runs this.</summary>
    public uint? GroupId(string name) => name == "root"
        ? (root.IsHost ? 0 : Find("/")?.Gid ?? 0)
        : Entry("/etc/group", name) is { } fields ? Number(fields) : null;

    /// <summary>Whether a user is named as a member of a group.</summary>
    public bool IsMember(string user, string group) => Entry("/etc/group", group) is [_, _, _, var members, ..] && members.Split(',').Contains(user, StringComparer.Ordinal);

    /// <summary>Content of a file; null when there is none.</summary>
    /// <exception cref="CliException">It is no file, larger than <see cref="MaxFileBytes"/>, or may not be read.</exception>
    public byte[]? Read(string path) => Try<byte[]?>(path, () =>
    {
        if (LinkStatus.Find(At(path)) is not { } status)
        {
            return null;
        }

        return status.Kind != LinkKind.File ? throw CliException.Failed($"'{path}' is no file but a {Word(status.Kind)}; remove it, or put a file in its place.")
            : status.SizeBytes > MaxFileBytes ? throw CliException.Failed($"'{path}' has more than {MaxFileBytes >> 20} MiB; that is no file of settings. Remove it.")
            : File.ReadAllBytes(At(path));
    });

    /// <summary>Puts a whole file in place in one step, with its owner and mode; a name that is there is replaced.</summary>
    public void Write(string path, byte[] content, int mode, uint uid, uint gid) => Try(path, () =>
    {
        using var directory = DirectoryHandle.Open(Path.GetDirectoryName(At(path))!);
        var name = Encoding.UTF8.GetBytes(Path.GetFileName(path));
        byte[] draft = [.. "."u8, .. name, .. ".volar-setup"u8];
        directory.Remove(draft, isDirectory: false); // of a run that was broken off
        using (var file = directory.CreateFile(draft))
        {
            RandomAccess.Write(file, content, 0);
            DirectoryHandle.SetOwner(file, uid, gid);
            DirectoryHandle.SetMode(file, mode);
            RandomAccess.FlushToDisk(file);
        }

        directory.Rename(draft, directory, name);
        return true;
    });

    /// <summary>Removes a file; does nothing when there is none.</summary>
    public void RemoveFile(string path) => Remove(path, isDirectory: false);

    /// <summary>Removes an empty directory; does nothing when there is none.</summary>
    public void RemoveDirectory(string path) => Remove(path, isDirectory: true);

    /// <summary>Makes a directory that is not there, for nobody but its owner.</summary>
    public void MakeDirectory(string path) => Try(path, () =>
    {
        using var parent = DirectoryHandle.Open(Path.GetDirectoryName(At(path))!);
        return parent.CreateDirectory(Encoding.UTF8.GetBytes(Path.GetFileName(path)), 0b111_000_000);
    });

    /// <summary>Sets owner and mode of a directory.</summary>
    public void SetDirectory(string path, int mode, uint uid, uint gid) => Try(path, () =>
    {
        using var directory = DirectoryHandle.Open(At(path));
        directory.SetOwner(uid, gid);
        directory.SetMode(mode);
        return true;
    });

    /// <summary>Names in a directory; none when it is not there.</summary>
    public IReadOnlyList<string> List(string path) => Try<IReadOnlyList<string>>(path, () => Directory.Exists(At(path)) ? [.. Directory.EnumerateFileSystemEntries(At(path)).Select(entry => Path.GetFileName(entry))] : []);

    /// <summary>Writes a word into a file of the kernel.</summary>
    public void WriteWord(string path, string word) => Try(path, () =>
    {
        File.WriteAllText(At(path), word + "\n");
        return true;
    });

    /// <summary>Runs a program of the host that must be there and succeed.</summary>
    /// <returns>What it said.</returns>
    public async Task<string> RunAsync(string name, IReadOnlyList<string> arguments, CancellationToken cancellationToken)
    {
        var (code, output) = await TryRunAsync(name, arguments, [], cancellationToken);
        return code == 0 ? output : throw CliException.Failed($"'{name} {string.Join(' ', arguments)}' failed with exit code {code}: {(output.Length > 0 ? output.ReplaceLineEndings(" ") : "it said nothing")}");
    }

    /// <summary>Runs a program of the host that must be there.</summary>
    /// <param name="name">Its name, or its path as on the host.</param>
    /// <param name="arguments">Its arguments.</param>
    /// <param name="environment">What it is told besides a path.</param>
    /// <param name="cancellationToken">Ends it.</param>
    public Task<(int ExitCode, string Output)> TryRunAsync(string name, IReadOnlyList<string> arguments, IReadOnlyList<string> environment, CancellationToken cancellationToken)
    {
        var program = name.StartsWith('/') ? name : FindProgram(name) ?? throw CliException.Failed($"The program '{name}' is not installed; install it (on Debian and Ubuntu: {(name == "systemctl" ? "systemd" : "passwd")}) and run setup again: it goes on where it stopped.");
        return HostProgram.RunAsync(At(program), arguments, environment, cancellationToken);
    }

    /// <summary>Owners of what is in a directory; none when it is not there.</summary>
    public IReadOnlyList<uint> OwnersIn(string directory) => [.. List(directory).Select(name => LinkStatus.Find(At($"{directory}/{name}"))?.Uid).OfType<uint>().Distinct()];

    /// <summary>Ids of the processes of some users, without those of one program.</summary>
    public IReadOnlyList<string> ProcessesOf(IReadOnlyCollection<uint> uids, string except) =>
    [
        .. from name in List("/proc")
           where name.All(char.IsAsciiDigit) && LinkStatus.Find(At($"/proc/{name}")) is { } status && uids.Contains(status.Uid) && ReadWord($"/proc/{name}/comm") is { } comm && comm != except
           select name,
    ];

    private void Remove(string path, bool isDirectory) => Try(path, () =>
    {
        if (!Directory.Exists(Path.GetDirectoryName(At(path))))
        {
            return false;
        }

        using var directory = DirectoryHandle.Open(Path.GetDirectoryName(At(path))!);
        return directory.Remove(Encoding.UTF8.GetBytes(Path.GetFileName(path)), isDirectory);
    });

    private string[]? Entry(string file, string name) => Read(file) is { } content
        ? Encoding.UTF8.GetString(content).Split('\n').Select(line => line.Split(':')).FirstOrDefault(fields => fields.Length > 3 && fields[0] == name)
        : null;

    private static uint? Number(string[] fields) => uint.TryParse(fields[2], NumberStyles.None, CultureInfo.InvariantCulture, out var number) ? number : null;

    private static string Word(LinkKind kind) => kind switch
    {
        LinkKind.Directory => "directory",
        LinkKind.SymbolicLink => "symbolic link",
        LinkKind.Device => "device",
        LinkKind.Pipe => "pipe",
        _ => "socket",
    };

    private static T Try<T>(string path, Func<T> action)
    {
        try
        {
            return action();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or Win32Exception)
        {
            throw CliException.Failed($"'{path}': {e.Message}", e);
        }
    }
}
