namespace Volant.EndToEnd;

/// <summary>The daemon as its unit runs it: a user that is not root, with the capabilities that the unit gives it and no others.</summary>
internal static class ServiceRights
{
    /// <summary>The user: <c>nobody</c>, for tests make no users.</summary>
    public const uint User = 65534;

    private const string Line = "AmbientCapabilities=";

    /// <summary>A command that becomes the daemon whose command line follows.</summary>
    public static async Task<IReadOnlyList<string>> CommandAsync()
    {
        var unit = await Command.RunAsync([Workspace.Program("volar"), "setup", "--print", "unit", "--volantd", "/bin/true"]);
        var rights = unit.Output.Split('\n').Where(line => line.StartsWith(Line, StringComparison.Ordinal)).SelectMany(line => line[Line.Length..].Split(' ')).ToList();
        Assert.True(rights.Count > 0, unit.ToString());
        var set = $"-all,{string.Join(',', rights.Select(right => $"+{right["CAP_".Length..].ToLowerInvariant()}"))}";
        return ["/usr/bin/setpriv", $"--reuid={User}", $"--regid={User}", "--clear-groups", "--no-new-privs", $"--inh-caps={set}", $"--ambient-caps={set}", $"--bounding-set={set}"];
    }

    /// <summary>Gives a daemon's directory to the user, before its first start.</summary>
    public static async Task GiveAsync(TestDaemon daemon)
    {
        var given = await Command.RunAsync(["chown", $"{User}", daemon.Directory]);
        Assert.True(given.ExitCode == 0, given.ToString());
    }
}
