using System.Text;

namespace Volant.Cli.Setup;

/// <summary>The file of settings that the service reads (<c>EnvironmentFile=</c>). It belongs to the administrator: setup only sets in it what it is told.</summary>
internal static class EnvironmentFile
{
    /// <summary>The file as it is when there was none.</summary>
    public static string Text(SetupSettings settings) => Merge($"""
        # Settings of volantd; 'volantd --help' says what there is. After a change: systemctl restart volantd, which touches no VM.
        # Neither an upgrade nor 'volar setup' changes this file, apart from the lines that options of setup name.
        VOLANT_BRIDGE=vbr0
        VOLANT_SUBNET=192.168.127.0/24
        VOLANT_HOST_IP=192.168.127.1
        VOLANT_KERNEL_BZIMAGE={SetupSettings.DefaultStateDirectory}/kernel/bzImage
        VOLANT_KERNEL_VMLINUX={SetupSettings.DefaultStateDirectory}/kernel/vmlinux

        # Without a key every user of this host may do everything that volantd can. At least 8 characters; clients have the same variable.
        #VOLANT_API_KEY=
        #VOLANT_API_LISTEN=127.0.0.1:7777
        #VOLANT_PUBLISH_ADDRESS=127.0.0.1

        """, settings);

    /// <summary>A file with the settings that were named: in place of the last line that sets the same, else at the end.</summary>
    public static string Merge(string text, SetupSettings settings)
    {
        foreach (var (name, value) in Named(settings))
        {
            text = Set(text, name, value);
        }

        return text;
    }

    /// <summary>What a file sets, as <c>NAME=value</c>; the last of several lines of one name counts. Continuations and escapes are not looked at.</summary>
    public static IReadOnlyList<string> Variables(string text)
    {
        var values = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var line in text.Split('\n').Select(line => line.Trim()))
        {
            if (NameOf(line) is { } name)
            {
                var value = line[(line.IndexOf('=', StringComparison.Ordinal) + 1)..].Trim();
                values[name] = value.Length > 1 && value[0] is '"' or '\'' && value[^1] == value[0] ? value[1..^1] : value;
            }
        }

        return [.. values.Select(pair => $"{pair.Key}={pair.Value}")];
    }

    private static IEnumerable<(string Name, string Value)> Named(SetupSettings settings) =>
        from pair in new (string Name, string? Value)[]
        {
            ("VOLANT_BRIDGE", settings.Bridge),
            ("VOLANT_SUBNET", settings.Subnet),
            ("VOLANT_HOST_IP", settings.HostIp),
            ("VOLANT_KERNEL_BZIMAGE", settings.BzImage),
            ("VOLANT_KERNEL_VMLINUX", settings.Vmlinux),
        }
        where pair.Value is not null
        select (pair.Name, pair.Value);

    private static string Set(string text, string name, string value)
    {
        var wanted = $"{name}={value}";
        var lines = text.Split('\n');
        var last = Array.FindLastIndex(lines, line => NameOf(line.Trim()) == name);
        if (last >= 0)
        {
            // What is right stays as it is written.
            lines[last] = Variables(lines[last])[0] == wanted ? lines[last] : wanted;
            return string.Join('\n', lines);
        }

        var whole = new StringBuilder(text);
        if (text.Length > 0 && text[^1] != '\n')
        {
            whole.Append('\n');
        }

        return whole.Append(wanted).Append('\n').ToString();
    }

    private static string? NameOf(string line)
    {
        var end = line.IndexOf('=', StringComparison.Ordinal);
        return end > 0 && line[0] is not ('#' or ';') && line[..end].All(c => char.IsAsciiLetterOrDigit(c) || c == '_') ? line[..end] : null;
    }
}
