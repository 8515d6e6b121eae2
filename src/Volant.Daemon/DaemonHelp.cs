using Volant.Contracts;

namespace Volant.Daemon;

/// <summary>The help text of volantd, made from the table of variables.</summary>
internal static class DaemonHelp
{
    /// <summary>What <c>volantd --help</c> prints.</summary>
    public static string Text { get; } = $"""
        volantd {ProductVersion.Text}: turns plugin manifests into running microVMs.

        Usage: volantd [--check | --version | --help]
          --check    check the configuration and exit (0, or 78 with one line that says what is wrong)

        Environment:
        {string.Join('\n', DaemonEnvironment.Variables.Select(variable => $"  {variable.Name,-24} {variable.Meaning} (default: {variable.Default})"))}

        Stopping volantd stops no VM: the next volantd takes them over.

        """;
}
