namespace Volant.Cli.Doctor;

/// <summary>The host's files and programs, below a directory that stands for <c>/</c>; tests have their own.</summary>
/// <param name="variable">Reads an environment variable.</param>
/// <param name="root">Absolute path of the directory.</param>
internal sealed class HostRoot(Func<string, string?> variable, string root = "/")
{
    private static readonly string[] ProgramDirectories = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

    /// <summary>Whether it is the root of this host, and not a directory of a test.</summary>
    public bool IsHost => root == "/";

    /// <summary>Reads an environment variable; null when it is empty, too.</summary>
    public string? Variable(string name) => variable(name) is { Length: > 0 } value ? value : null;

    /// <summary>Where a path of the host really is.</summary>
    public string At(string path) => IsHost ? path : root + path;

    /// <summary>Path, as on the host, of a program in <c>PATH</c> or in the directories where systems have theirs; null when there is none.</summary>
    public string? FindProgram(string name) => (Variable("PATH")?.Split(':', StringSplitOptions.RemoveEmptyEntries) ?? [])
        .Where(Path.IsPathRooted)
        .Concat(ProgramDirectories)
        .Select(directory => Path.Combine(directory, name))
        .FirstOrDefault(path => File.Exists(At(path)));

    /// <summary>The text of a small file of the kernel without spaces around it; null when it cannot be read.</summary>
    public string? ReadWord(string path)
    {
        try
        {
            return File.ReadAllText(At(path)).Trim();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }
}
