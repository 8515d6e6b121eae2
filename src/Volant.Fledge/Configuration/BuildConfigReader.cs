using Volant.Contracts;
using Volant.Fledge.Toml;

namespace Volant.Fledge.Configuration;

/// <summary>Turns <c>fledge.toml</c> into a checked configuration. Pure: looks at no other file.</summary>
/// <remarks>Reports every fault at once. What a later version brings is refused by name, with <see cref="ExitCodes.Usage"/>.</remarks>
internal sealed class BuildConfigReader
{
    private const string Later = "is not supported by this version of fledge";

    private readonly string _file;
    private readonly string _directory;
    private readonly TomlNode _root;
    private readonly TomlFaults _faults;
    private readonly TomlFaults _unsupported;

    private BuildConfigReader(string file, TomlNode root)
    {
        _file = file;
        _directory = Path.GetDirectoryName(Path.GetFullPath(file)) ?? "/";
        _root = root;
        _faults = new TomlFaults(file);
        _unsupported = new TomlFaults(file);
    }

    /// <summary>Reads and checks the file.</summary>
    /// <exception cref="FledgeException">It cannot be read or breaks a rule.</exception>
    public static BuildConfig Read(string file) => new BuildConfigReader(file, TomlDocument.Read(file)).Read();

    private BuildConfig Read()
    {
        var document = new TomlTableReader(_root, string.Empty, _faults);
        var version = document.String("version", required: true);
        if (version is not null and not "1")
        {
            document.Fault("version", $"must be \"1\", not \"{version}\"");
        }

        var strategy = document.String("strategy", required: true);
        if (strategy == "oci_rootfs")
        {
            Unsupported("strategy", $"= \"oci_rootfs\" {Later}; use \"initramfs\"");
        }
        else if (strategy is not null and not "initramfs")
        {
            document.Fault("strategy", $"must be \"initramfs\", not \"{strategy}\"");
        }

        var init = ReadInit(document.Table("init"));
        var agent = ReadAgent(document.Table("agent"), init.Mode);
        var busybox = ReadSource(document.Table("source"));
        var mappings = ReadMappings(document.Table("mappings"));
        if (document.Table("filesystem") is not null && strategy != "oci_rootfs")
        {
            document.Fault("filesystem", "belongs to strategy \"oci_rootfs\"; remove the table");
        }

        document.RefuseUnread();
        if (!_unsupported.None)
        {
            throw new FledgeException([.. _unsupported.All, .. _faults.All], ExitCodes.Usage);
        }

        return _faults.None
            ? new BuildConfig(_directory, init, agent, busybox, mappings)
            : throw new FledgeException([.. _faults.All]);
    }

    private static InitChoice ReadInit(TomlTableReader? table)
    {
        if (table is null)
        {
            return new InitChoice(InitMode.Agent);
        }

        var path = table.String("path");
        var none = table.Boolean("none") ?? false;
        table.RefuseUnread();
        if (path is not null && none)
        {
            table.Fault("path", "and 'init.none' exclude each other; remove one");
        }

        return path is not null ? new InitChoice(InitMode.Custom, path) : new InitChoice(none ? InitMode.None : InitMode.Agent);
    }

    private ProgramSource? ReadAgent(TomlTableReader? table, InitMode init)
    {
        if (init != InitMode.Agent)
        {
            table?.Fault(string.Empty, "belongs to the default init; remove it, or remove 'init'");
            return null;
        }

        if (table is null)
        {
            return new ProgramSource.Default();
        }

        var strategy = table.String("source_strategy", required: true);
        ProgramSource source = new ProgramSource.Default();
        switch (strategy)
        {
            case null:
                return source;
            case "local":
                if (table.String("path") is { } path)
                {
                    source = new ProgramSource.Local(Path.GetFullPath(path, _directory));
                }

                break;
            case "http":
                var url = table.String("url", required: true);
                var checksum = table.String("checksum", required: true);
                source = ReadDownload(table, "url", url, "checksum", checksum) ?? source;
                break;
            case "release":
                Unsupported("agent.source_strategy", $"= \"release\" {Later}; use \"local\" or \"http\"");
                return source;
            default:
                table.Fault("source_strategy", $"must be \"local\" or \"http\", not \"{strategy}\"");
                return source;
        }

        table.RefuseUnread($"with source_strategy \"{strategy}\"");
        return source;
    }

    private ProgramSource? ReadSource(TomlTableReader? table)
    {
        if (table is null)
        {
            return new ProgramSource.Default();
        }

        foreach (var key in (ReadOnlySpan<string>)["image", "dockerfile", "context", "target", "build_args"])
        {
            if (table.Skip(key))
            {
                Unsupported($"source.{key}", Later);
            }
        }

        var wanted = table.Boolean("busybox") ?? true;
        var url = table.String("busybox_url");
        var checksum = table.String("busybox_sha256");
        table.RefuseUnread();
        if (url is null && checksum is null)
        {
            return wanted ? new ProgramSource.Default() : null;
        }

        if (!wanted)
        {
            table.Fault("busybox", "= false excludes 'source.busybox_url' and 'source.busybox_sha256'");
        }

        if (url is null || checksum is null)
        {
            table.Fault(url is null ? "busybox_sha256" : "busybox_url", $"needs 'source.{(url is null ? "busybox_url" : "busybox_sha256")}' too: a download is only used when its checksum is known");
            return null;
        }

        return ReadDownload(table, "busybox_url", url, "busybox_sha256", checksum);
    }

    private static ProgramSource.Download? ReadDownload(TomlTableReader table, string urlKey, string? url, string checksumKey, string? checksum)
    {
        if (url is null || checksum is null)
        {
            return null;
        }

        var isUrl = Uri.TryCreate(url, UriKind.Absolute, out var parsed) &&
            (parsed.Scheme == Uri.UriSchemeHttp || parsed.Scheme == Uri.UriSchemeHttps) && parsed.UserInfo.Length == 0;
        if (!isUrl)
        {
            table.Fault(urlKey, $"must be an http:// or https:// URL without user or password, not \"{url}\"");
        }

        var digest = Sha256Text.Normalise(checksum.Trim());
        if (!Sha256Text.IsValid(digest))
        {
            table.Fault(checksumKey, $"must be a SHA-256 of 64 hex digits, not \"{checksum}\"");
        }

        return isUrl && Sha256Text.IsValid(digest) ? new ProgramSource.Download(parsed!, digest) : null;
    }

    private List<Mapping> ReadMappings(TomlTableReader? table)
    {
        var mappings = new List<Mapping>();
        foreach (var (host, node) in table?.Members ?? [])
        {
            var guest = table!.String(host);
            if (host.Length == 0 || host.Any(char.IsControl))
            {
                table.Fault(host, "must be the path of a file or directory on the host");
            }
            else if (guest is not null && GuestPaths.Fault(guest) is { } fault)
            {
                table.Fault(host, fault);
            }
            else if (guest is not null)
            {
                mappings.Add(new Mapping(
                    Path.TrimEndingDirectorySeparator(Path.GetFullPath(host, _directory)),
                    guest,
                    $"{_file}:{node.Line}:{node.Column}"));
            }
        }

        return mappings;
    }

    private void Unsupported(string path, string message) => _unsupported.Add(_root.Nearest(path), path, message);
}
