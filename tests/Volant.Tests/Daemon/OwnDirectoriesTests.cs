using Volant.Daemon;
using Volant.Linux.Processes;
using Volant.Tests.Fledge;

namespace Volant.Tests.Daemon;

/// <summary>Another user who planted something where the daemon will write (S14): it does not start, and touches nothing.</summary>
public sealed class OwnDirectoriesTests : IDisposable
{
    private const UnixFileMode Everybody = (UnixFileMode)0b111_111_111;

    private readonly TempTree _tree = new();

    public void Dispose() => _tree.Dispose();

    [Fact]
    public void What_is_not_there_is_made_and_what_is_ours_is_taken_links_included()
    {
        _tree.Make("real");
        _tree.Link("link", "real");

        OwnDirectories.Prepare(Options(_tree["new/state"], _tree["link"], _tree["link/logs"]));

        Assert.True(Directory.Exists(_tree["new/state"]));
        Assert.True(Directory.Exists(_tree["real/logs"]));
    }

    [Theory]
    [InlineData("VOLANT_DB_PATH")]
    [InlineData("VOLANT_RUNTIME_DIR")]
    [InlineData("VOLANT_LOG_DIR")]
    public void A_directory_that_others_can_write_to_is_refused_by_name(string variable)
    {
        foreach (var mode in new[] { Everybody, Everybody | UnixFileMode.StickyBit, (UnixFileMode)0b111_111_101 })
        {
            File.SetUnixFileMode(_tree.Make("open"), mode);

            AssertRefused(variable, _tree["open"], "others can write to");
        }
    }

    [Fact]
    public void A_directory_below_one_that_all_can_write_to_is_refused_unless_it_is_sticky()
    {
        File.SetUnixFileMode(_tree.Make("open"), Everybody);
        AssertRefused("VOLANT_RUNTIME_DIR", _tree["open/run"], "others can write to");

        File.SetUnixFileMode(_tree["open"], Everybody | UnixFileMode.StickyBit);
        OwnDirectories.Prepare(Options(_tree["state"], _tree["open/run"], _tree["logs"]));
    }

    [Fact]
    public async Task A_directory_or_a_link_of_another_user_is_refused_and_what_it_leads_to_is_not_touched()
    {
        Assert.SkipUnless(EffectiveUser.Id == 0, "only root can give a file to another user");
        _tree.Make("victim");
        _tree.Write("victim/file", "as it was");
        _tree.Link("planted", "victim");
        _tree.Make("foreign");
        await Spawned.RunAsync(_tree, null, "chown", "-h", "65534", _tree["planted"], _tree["foreign"]);

        AssertRefused("VOLANT_LOG_DIR", _tree["planted"], "belongs to user 65534");
        AssertRefused("VOLANT_LOG_DIR", _tree["planted/logs"], "belongs to user 65534");
        AssertRefused("VOLANT_RUNTIME_DIR", _tree["foreign"], "belongs to user 65534");
        AssertRefused("VOLANT_DB_PATH", _tree["foreign/state"], "belongs to user 65534");
        Assert.Equal("as it was", await File.ReadAllTextAsync(_tree["victim/file"], TestContext.Current.CancellationToken));
    }

    private void AssertRefused(string variable, string path, string words)
    {
        string Of(string name) => name == variable ? path : _tree[$"fine-{name}"];
        var failure = Assert.Throws<ConfigurationException>(() => OwnDirectories.Prepare(Options(Of("VOLANT_DB_PATH"), Of("VOLANT_RUNTIME_DIR"), Of("VOLANT_LOG_DIR"))));
        Assert.StartsWith($"{variable}: '{path}' ", failure.Message, StringComparison.Ordinal);
        Assert.Contains(words, failure.Message, StringComparison.Ordinal);
    }

    private static DaemonOptions Options(string state, string run, string logs) => DaemonEnvironment.Read(new Dictionary<string, string>(StringComparer.Ordinal)
    {
        ["VOLANT_DB_PATH"] = Path.Combine(state, "state.db"),
        ["VOLANT_RUNTIME_DIR"] = run,
        ["VOLANT_LOG_DIR"] = logs,
    });
}
