using System.Text;
using Volant.Cli.Doctor;
using Volant.Cli.Setup;
using Volant.Daemon;

namespace Volant.Tests.Cli;

/// <summary>The unit as systemd sees it, where its checker is installed.</summary>
public sealed class ServiceUnitTests
{
    private const string Analyze = "/usr/bin/systemd-analyze";

    [Fact]
    public async Task Systemd_finds_no_fault_in_the_unit()
    {
        var (code, output) = await AnalyzeAsync("verify");

        Assert.Equal((0, string.Empty), (code, output));
    }

    [Fact]
    public async Task The_exposure_of_the_unit_is_at_most_4_4()
    {
        var (code, output) = await AnalyzeAsync("security", "--offline=true", "--no-pager", "--threshold=44");

        Assert.True(code == 0, output);
    }

    /// <summary>
    /// Groups of systemd hold none of these calls: without them QEMU knows no sandbox and does not start, and Cloud Hypervisor cannot confine itself.
    /// RestrictSUIDSGID takes openat2 away (<c>systemd.exec(5)</c>), by which paths are looked up.
    /// </summary>
    [Fact]
    public void Hypervisors_may_confine_themselves_and_paths_be_looked_up()
    {
        Assert.DoesNotContain("\nRestrictSUIDSGID", ServiceUnit.Text(Settings()), StringComparison.Ordinal);
        var calls = ServiceUnit.Text(Settings()).Split('\n').Where(line => line.StartsWith("SystemCallFilter=", StringComparison.Ordinal)).SelectMany(line => line["SystemCallFilter=".Length..].Split(' '));

        Assert.Empty(new[] { "seccomp", "landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self" }.Except(calls, StringComparer.Ordinal));
    }

    [Fact]
    public void Directories_are_systemds_where_it_has_a_place_for_them_and_only_writable_elsewhere()
    {
        var usual = ServiceUnit.Text(Settings());
        var elsewhere = ServiceUnit.Text(Settings() with { StateDirectory = "/srv/volant/state", RuntimeDirectory = "/srv/volant/run", LogDirectory = "/srv/volant/log" });

        Assert.Contains("\nStateDirectory=volant\nStateDirectoryMode=0700\nRuntimeDirectory=volant\nRuntimeDirectoryMode=0750\nRuntimeDirectoryPreserve=yes\nLogsDirectory=volant\nLogsDirectoryMode=0750\n", usual, StringComparison.Ordinal);
        Assert.Contains("\nReadWritePaths=/srv/volant/state\nReadWritePaths=/srv/volant/run\nReadWritePaths=/srv/volant/log\n", elsewhere, StringComparison.Ordinal);
    }

    /// <summary>What the file sets must be names that volantd reads, with values that it takes.</summary>
    [Fact]
    public void The_daemon_takes_the_settings_as_they_are_written()
    {
        var variables = EnvironmentFile.Variables(EnvironmentFile.Text(Settings())).Select(variable => variable.Split('=', 2)).ToDictionary(pair => pair[0], pair => pair[1], StringComparer.Ordinal);
        var commented = EnvironmentFile.Text(Settings()).Split('\n').Where(line => line.StartsWith("#VOLANT", StringComparison.Ordinal)).Select(line => line[1..line.IndexOf('=', StringComparison.Ordinal)]);
        var named = ServiceUnit.Text(Settings()).Split('\n').Where(line => line.StartsWith("Environment=", StringComparison.Ordinal)).Select(line => line["Environment=".Length..].Split('=', 2)).ToList();

        var options = DaemonEnvironment.Read(variables.Concat(named.ToDictionary(pair => pair[0], pair => pair[1], StringComparer.Ordinal)).ToDictionary(StringComparer.Ordinal));

        Assert.Equal("/var/lib/volant/state.db", options.DatabasePath);
        Assert.Equal("/run/volant", options.RuntimeDirectory);
        Assert.Equal("/var/log/volant", options.LogDirectory);
        Assert.All(variables.Keys.Concat(commented).Concat(named.Select(pair => pair[0])), name => Assert.Contains(DaemonEnvironment.Variables, variable => variable.Name == name));
        Assert.All(DaemonEnvironment.Variables.Where(variable => variables.ContainsKey(variable.Name)), variable => Assert.Equal(variable.Default, variables[variable.Name]));
    }

    private static SetupSettings Settings() => new() { Daemon = "/usr/lib/volant/volantd" };

    /// <summary>Runs it on the unit with a program that is there.</summary>
    private static async Task<(int ExitCode, string Output)> AnalyzeAsync(params string[] arguments)
    {
        Assert.SkipUnless(File.Exists(Analyze), $"{Analyze} is not installed (package systemd)");
        var directory = Directory.CreateTempSubdirectory("volar-unit-");
        try
        {
            var path = Path.Combine(directory.FullName, "volantd.service");
            await File.WriteAllTextAsync(path, ServiceUnit.Text(Settings() with { Daemon = "/bin/true" }), new UTF8Encoding(false), TestContext.Current.CancellationToken);
            return await HostProgram.RunAsync(Analyze, [.. arguments, path], ["SYSTEMD_LOG_LEVEL=warning"], TestContext.Current.CancellationToken);
        }
        finally
        {
            directory.Delete(recursive: true);
        }
    }
}
