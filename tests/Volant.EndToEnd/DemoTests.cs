using System.Text.RegularExpressions;
using Volant.Linux.Processes;

namespace Volant.EndToEnd;

/// <summary>The newcomer's first command works, and leaves nothing behind however it ends.</summary>
public sealed partial class DemoTests : IDisposable
{
    private readonly string _temporary = Directory.CreateTempSubdirectory("vt-demo-").FullName;

    [Fact]
    public async Task The_demo_ends_with_its_line_and_leaves_nothing()
    {
        var result = await Command.RunAsync([Path.Combine(Workspace.Root, "scripts", "demo.sh")], TimeSpan.FromSeconds(120), Environment());

        Assert.True(result.ExitCode == 0, result.ToString());
        Assert.Matches(LastLine(), result.Output.TrimEnd().Split('\n')[^1]);
        await AssertNothingIsLeftAsync();
    }

    [Theory]
    [InlineData("one microVM")]
    [InlineData("volantd on a free loopback port")]
    public async Task An_interrupted_demo_leaves_nothing(string step)
    {
        using var demo = Command.Start([Path.Combine(Workspace.Root, "scripts", "demo.sh")], Environment());
        var started = TimeProvider.System.GetTimestamp();
        while (!demo.Output.Contains(step, StringComparison.Ordinal) && !demo.Exit.IsCompleted)
        {
            Assert.True(TimeProvider.System.GetElapsedTime(started).TotalSeconds < 60, demo.Output + demo.Error);
            await Task.Delay(TimeSpan.FromMilliseconds(20), TimeProvider.System, TestContext.Current.CancellationToken);
        }

        demo.Signal(15);
        var result = await demo.WaitAsync(TimeSpan.FromSeconds(60));

        Assert.NotEqual(0, result.ExitCode);
        await AssertNothingIsLeftAsync();
    }

    [Fact]
    public async Task A_failing_demo_says_why_and_leaves_nothing()
    {
        var environment = Environment();
        environment["VOLANT_HYPERVISOR"] = "/nonexistent/qemu";
        var result = await Command.RunAsync([Path.Combine(Workspace.Root, "scripts", "demo.sh")], TimeSpan.FromSeconds(120), environment);

        Assert.NotEqual(0, result.ExitCode);
        Assert.Contains("/nonexistent/qemu", result.Error, StringComparison.Ordinal);
        await AssertNothingIsLeftAsync();
    }

    public void Dispose() => Directory.Delete(_temporary, recursive: true);

    private Dictionary<string, string> Environment() => new(StringComparer.Ordinal) { ["TMPDIR"] = _temporary };

    private async Task AssertNothingIsLeftAsync()
    {
        Assert.Empty(Directory.GetFileSystemEntries(_temporary));

        // The shell's last helper (sed, sleep) may outlive it by a moment.
        var started = TimeProvider.System.GetTimestamp();
        while (ProcessIdentity.AllPids().Any(pid => ProcessIdentity.Find(pid) is not null && Mentions(pid)) && TimeProvider.System.GetElapsedTime(started).TotalSeconds < 2)
        {
            await Task.Delay(TimeSpan.FromMilliseconds(20), TimeProvider.System, TestContext.Current.CancellationToken);
        }

        Assert.DoesNotContain(ProcessIdentity.AllPids(), pid => ProcessIdentity.Find(pid) is not null && Mentions(pid));
    }

    private bool Mentions(int pid)
    {
        try
        {
            return File.ReadAllText($"/proc/{pid}/environ").Contains(_temporary, StringComparison.Ordinal) ||
                ProcessIdentity.CommandLine(pid).Any(word => word.Contains(_temporary, StringComparison.Ordinal));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }

    [GeneratedRegex(@"^demo ok: \d+ bytes from demo in \d+ ms \(qemu, (kvm|tcg)\)$", RegexOptions.CultureInvariant | RegexOptions.ExplicitCapture, matchTimeoutMilliseconds: 1000)]
    private static partial Regex LastLine();
}
