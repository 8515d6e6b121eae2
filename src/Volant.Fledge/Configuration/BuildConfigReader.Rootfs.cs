using System.Text.RegularExpressions;
using Volant.Fledge.Oci;
using Volant.Fledge.Toml;

namespace Volant.Fledge.Configuration;

/// <content>The tables of images and root disks.</content>
internal sealed partial class BuildConfigReader
{
    private static readonly string[] DockerfileKeys = ["context", "target", "build_args"];

    private ImageInput? ReadImage(TomlTableReader document, TomlTableReader? table, bool isRootfs)
    {
        var image = table?.String("image");
        var dockerfile = table?.String("dockerfile");
        var context = table?.String("context");
        var target = table?.String("target");
        var arguments = ReadArguments(table?.Table("build_args"));
        if (image is not null && dockerfile is not null)
        {
            table!.Fault("dockerfile", "and 'source.image' exclude each other; remove one");
        }
        else if (isRootfs && table?.Has("image") != true && table?.Has("dockerfile") != true)
        {
            document.Fault("source", $"must have 'image' or 'dockerfile' with strategy \"{RootfsStrategy}\"");
        }

        if (dockerfile is not null)
        {
            var file = Path.GetFullPath(dockerfile, _directory);
            return new ImageInput.Dockerfile(file, context is null ? Path.GetDirectoryName(file) ?? "/" : Path.GetFullPath(context, _directory), target, arguments);
        }

        foreach (var key in DockerfileKeys)
        {
            if (table?.Has(key) == true && !table.Has("dockerfile"))
            {
                table.Fault(key, "needs 'source.dockerfile'");
            }
        }

        if (image is null)
        {
            return null;
        }

        try
        {
            return new ImageInput.Finished(ImageReference.Parse(image, _directory));
        }
        catch (FormatException e)
        {
            table!.Fault("image", e.Message);
            return null;
        }
    }

    private static Dictionary<string, string> ReadArguments(TomlTableReader? table)
    {
        var arguments = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var (name, _) in table?.Members ?? [])
        {
            if (table!.String(name) is not { } value)
            {
                continue;
            }

            if (BuildArguments.IsName(name))
            {
                arguments[name] = value;
            }
            else
            {
                table.Fault(name, BuildArguments.Rule);
            }
        }

        return arguments;
    }

    private static FilesystemChoice? ReadFilesystem(TomlTableReader document, TomlTableReader? table, string? strategy)
    {
        if (strategy != RootfsStrategy)
        {
            if (table is not null && strategy == InitramfsStrategy)
            {
                document.Fault("filesystem", $"belongs to strategy \"{RootfsStrategy}\"; remove the table");
            }

            return null;
        }

        if (table is null)
        {
            if (!document.Has("filesystem"))
            {
                document.Fault("filesystem", $"is required with strategy \"{RootfsStrategy}\": a table with 'type' \"ext4\", \"xfs\", \"btrfs\" or \"squashfs\"");
            }

            return null;
        }

        var name = table.String("type") ?? "ext4";
        if (FilesystemTypes.Find(name) is not { } type)
        {
            table.Fault("type", $"must be \"ext4\", \"xfs\", \"btrfs\" or \"squashfs\", not \"{name}\"");
            type = FilesystemType.Ext4;
        }

        var buffer = table.Integer("size_buffer_mb", 0, FilesystemChoice.MaxBufferMib);
        var preallocate = table.Boolean("preallocate");
        var level = table.Integer("compression_level", 1, 22);
        var overlay = table.String("overlay_size");
        if (overlay is not null && !OverlaySize().IsMatch(overlay))
        {
            table.Fault("overlay_size", $"must be a size such as \"512M\" or \"1G\", not \"{overlay}\"");
        }

        table.RefuseUnread();
        foreach (var key in type == FilesystemType.Squashfs ? [] : (string[])["compression_level", "overlay_size"])
        {
            if (table.Has(key))
            {
                table.Fault(key, "belongs to \"squashfs\"; remove it");
            }
        }

        return new FilesystemChoice(type, buffer ?? FilesystemChoice.DefaultBufferMib, preallocate ?? false, level, overlay);
    }

    [GeneratedRegex("^[1-9][0-9]{0,8}[KMGkmg]?$", RegexOptions.CultureInvariant, 1000)]
    private static partial Regex OverlaySize();
}

/// <summary>Names of file systems.</summary>
internal static class FilesystemTypes
{
    /// <summary>The kind of a name; null for none.</summary>
    public static FilesystemType? Find(string name) => name switch
    {
        "ext4" => FilesystemType.Ext4,
        "xfs" => FilesystemType.Xfs,
        "btrfs" => FilesystemType.Btrfs,
        "squashfs" => FilesystemType.Squashfs,
        _ => null,
    };

    /// <summary>The name of a kind.</summary>
    public static string Name(FilesystemType type) => type switch
    {
        FilesystemType.Xfs => "xfs",
        FilesystemType.Btrfs => "btrfs",
        FilesystemType.Squashfs => "squashfs",
        _ => "ext4",
    };
}

/// <summary>ARGs of a Dockerfile.</summary>
internal static class BuildArguments
{
    /// <summary>The rule in words.</summary>
    public const string Rule = "must be named by letters, digits and '_', as ARG of a Dockerfile";

    /// <summary>Whether a text may name one.</summary>
    public static bool IsName(string text) => text.Length is > 0 and <= 256 && !char.IsAsciiDigit(text[0]) && text.All(c => char.IsAsciiLetterOrDigit(c) || c == '_');
}
