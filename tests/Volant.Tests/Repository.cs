namespace Volant.Tests;

/// <summary>The files beside the code, for tests that hold them against it.</summary>
internal static class Repository
{
    private static readonly string Root = Find();

    /// <summary>Reads a file of the repository.</summary>
    public static Task<string> ReadAsync(string path) => File.ReadAllTextAsync(PathOf(path), TestContext.Current.CancellationToken);

    /// <summary>Where a file or directory of the repository is.</summary>
    public static string PathOf(string path) => Path.Combine(Root, path);

    /// <summary>Files below a directory of the repository, as paths in it.</summary>
    public static IEnumerable<string> FilesBelow(string directory, string pattern) =>
        Directory.EnumerateFiles(Path.Combine(Root, directory), pattern, SearchOption.AllDirectories).Select(path => Path.GetRelativePath(Root, path));

    private static string Find()
    {
        var root = AppContext.BaseDirectory;
        while (!File.Exists(Path.Combine(root, "Volant.slnx")))
        {
            root = Path.GetDirectoryName(root)!;
        }

        return root;
    }
}
