using System.CommandLine;
using Volant.Contracts.Api;

namespace Volant.Cli.Commands;

/// <summary>The option <c>--volume</c>.</summary>
internal static class VolumeOption
{
    /// <summary>Makes the option.</summary>
    public static Option<string[]> Create() => Symbols.Repeated("--volume", "NAME[:DEVICE][:ro]", "Attach a volume, such as data, data:vdb or data:ro; 'volar volumes create' makes one");

    /// <summary>What was asked for; null when nothing was.</summary>
    /// <exception cref="CliException">A text is not of that form.</exception>
    public static IReadOnlyList<VolumeAttachment>? Read(ParseResult parsed, Option<string[]> option) =>
        parsed.GetValue(option) is { Length: > 0 } texts ? [.. texts.Select(Parse)] : null;

    private static VolumeAttachment Parse(string text) => text.Split(':') switch
    {
        [{ Length: > 0 } name] => new VolumeAttachment { Name = name },
        [{ Length: > 0 } name, "ro"] => new VolumeAttachment { Name = name, Readonly = true },
        [{ Length: > 0 } name, { Length: > 0 } device] => new VolumeAttachment { Name = name, Target = device },
        [{ Length: > 0 } name, { Length: > 0 } device, "ro"] => new VolumeAttachment { Name = name, Target = device, Readonly = true },
        _ => throw CliException.Usage($"--volume '{text}' must be NAME, NAME:DEVICE, NAME:ro or NAME:DEVICE:ro, such as data:vdb."),
    };
}
