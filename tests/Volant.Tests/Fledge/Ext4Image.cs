using System.Text.RegularExpressions;

namespace Volant.Tests.Fledge;

/// <summary>Looks into an ext4 image with the file system's own tools.</summary>
internal sealed partial class Ext4Image(TempTree tree, string path)
{
    /// <summary>Skips the calling test where the tools are missing.</summary>
    public static void RequireTools() => Assert.SkipUnless(File.Exists("/usr/sbin/debugfs") && File.Exists("/usr/sbin/e2fsck"), "e2fsprogs is not installed");

    /// <summary>The checker must find nothing to say.</summary>
    public async Task CheckAsync() =>
        Assert.DoesNotMatch("fixed|error|invalid|should be|wrong", await Spawned.RunAsync(tree, null, "/usr/sbin/e2fsck", "-fn", path));

    /// <summary>What debugfs says of a file, spaces folded.</summary>
    public async Task<string> StatAsync(string file) => Spaces().Replace(await RunAsync($"stat \"{file}\""), " ");

    /// <summary>Content of a file.</summary>
    public async Task<byte[]> ReadAsync(string file)
    {
        var target = tree[$"dump-{Guid.NewGuid():N}"];
        await RunAsync($"dump \"{file}\" {target}");
        return await File.ReadAllBytesAsync(target, TestContext.Current.CancellationToken);
    }

    /// <summary>Names in a directory but <c>.</c> and <c>..</c>.</summary>
    public async Task<string[]> NamesAsync(string directory) =>
        [.. (await RunAsync($"ls -p \"{directory}\"")).Split('\n').Where(line => line.StartsWith('/')).Select(line => line.Split('/')[5]).Where(name => name is not ("." or ".."))];

    /// <summary>Runs one request of debugfs.</summary>
    public Task<string> RunAsync(string request) => Spawned.RunAsync(tree, null, "/usr/sbin/debugfs", "-R", request, path);

    [GeneratedRegex(@"\s+", RegexOptions.None, 1000)]
    private static partial Regex Spaces();
}
