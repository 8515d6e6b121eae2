using System.ComponentModel;
using Volant.Linux.Processes;
using Volant.Tests.Fledge;

namespace Volant.Tests.Linux;

/// <summary>Programs that see only some files, as another user.</summary>
public sealed class FileViewTests : IDisposable
{
    private static readonly ProcessUser User = new(212_345, 212_345, []);

    private readonly TempTree _tree = new();

    public void Dispose() => _tree.Dispose();

    [Fact]
    public async Task A_program_sees_what_it_is_shown_as_it_is_shown()
    {
        RequireRoot();
        _tree.Write("read/a", "A", (UnixFileMode)0b110_100_100);
        _tree.Write("write/b", "B", (UnixFileMode)0b110_110_110);
        _tree.Write("hidden", "H", (UnixFileMode)0b110_100_100);

        var text = await RunAsync(
            $"id -u; id -G; grep -E 'NoNewPrivs|CapEff' /proc/self/status; cat {_tree["read/a"]}; echo; echo X > {_tree["write/b"]}; echo X > {_tree["read/a"]}; cat {_tree["hidden"]}; ls {_tree["write"]}; ls /; echo Y > /y",
            new FileViewEntry(_tree["read/a"], FileViewAccess.Read),
            new FileViewEntry(_tree["write/b"], FileViewAccess.Write),
            new FileViewEntry("/proc", FileViewAccess.Read));

        Assert.StartsWith("212345\n212345\nCapEff:\t0000000000000000\nNoNewPrivs:\t1\nA\n", text, StringComparison.Ordinal);
        Assert.Contains($"cannot create {_tree["read/a"]}: Read-only file system", text, StringComparison.Ordinal);
        Assert.Contains($"{_tree["hidden"]}: No such file or directory", text, StringComparison.Ordinal);
        Assert.Contains("\nb\n", text, StringComparison.Ordinal);
        Assert.Contains("cannot create /y: Read-only file system", text, StringComparison.Ordinal);
        Assert.Equal("X\n", await File.ReadAllTextAsync(_tree["write/b"], TestContext.Current.CancellationToken));
        Assert.Equal("A", await File.ReadAllTextAsync(_tree["read/a"], TestContext.Current.CancellationToken));
        Assert.Empty(_tree.Names("root"));
        Assert.DoesNotContain(_tree["root"], await File.ReadAllTextAsync("/proc/self/mountinfo", TestContext.Current.CancellationToken), StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_is_not_there_is_named_and_nothing_is_started()
    {
        RequireRoot();

        var fault = await Assert.ThrowsAsync<Win32Exception>(() => RunAsync("echo started", new FileViewEntry(_tree["absent"], FileViewAccess.Read)));

        Assert.Contains(_tree["absent"], fault.Message, StringComparison.Ordinal);
    }

    /// <summary>A process that is just being started holds copies of all descriptors: one that was open for writing would keep the view from becoming read-only.</summary>
    [Fact]
    public void Many_are_started_at_once()
    {
        RequireRoot();
        foreach (var file in Enumerable.Range(0, 20))
        {
            _tree.Write($"file{file}", "x", (UnixFileMode)0b110_100_100);
        }

        string[] system = ["/bin", "/lib", "/lib64", "/usr/bin", "/usr/lib", "/usr/lib64"];
        FileViewEntry[] entries = [new("/dev/null", FileViewAccess.Device), .. system.Where(Path.Exists).Concat(Enumerable.Range(0, 20).Select(file => _tree[$"file{file}"])).Select(path => new FileViewEntry(path, FileViewAccess.Read))];
        Parallel.For(0, 400, new ParallelOptions { MaxDegreeOfParallelism = 8, CancellationToken = TestContext.Current.CancellationToken }, i =>
        {
            var root = Directory.CreateDirectory(_tree[$"root{i}"]).FullName;
            ProcessWait.Reap(ProcessSpawner.Spawn(new SpawnRequest { Arguments = ["/bin/true"], User = User, NoNewPrivileges = true, View = new FileView(root, entries) }));
        });
    }

    private static void RequireRoot() => Assert.SkipUnless(EffectiveUser.Id == 0 && FileView.IsPossible(), "needs root with CAP_SYS_ADMIN");

    /// <summary>Runs a line of shell in a view with the shell and the usual programs, and returns what it says.</summary>
    private async Task<string> RunAsync(string line, params IReadOnlyList<FileViewEntry> entries)
    {
        _tree.Make("root");
        using var output = File.OpenHandle(_tree["output"], FileMode.Create, FileAccess.ReadWrite, FileShare.ReadWrite);
        string[] system = ["/bin", "/lib", "/lib64", "/usr/bin", "/usr/lib", "/usr/lib64"];
        var pid = ProcessSpawner.Spawn(new SpawnRequest
        {
            Arguments = ["/bin/sh", "-c", line],
            Environment = ["PATH=/usr/bin", "LC_ALL=C"],
            StandardInput = output,
            StandardOutput = output,
            StandardError = output,
            User = User,
            NoNewPrivileges = true,
            View = new FileView(_tree["root"], [.. system.Where(Path.Exists).Select(path => new FileViewEntry(path, FileViewAccess.Read)), .. entries]),
        });
        await ProcessExitWatcher.WaitForChildAsync(pid, 9, TestContext.Current.CancellationToken);
        return await File.ReadAllTextAsync(_tree["output"], TestContext.Current.CancellationToken);
    }
}
