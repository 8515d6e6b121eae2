using Volant.Contracts;
using Volant.Fledge.Toml;

namespace Volant.Fledge.Configuration;

/// <summary>Turns <c>fledge.toml</c> into a checked configuration. Pure: looks at no other file.</summary>
/// <remarks>Reports every fault at once.</remarks>
internal sealed partial class BuildConfigReader
{
    /// <summary>Strategy of an initramfs.</summary>
    public const string InitramfsStrategy = "initramfs";

    /// <summary>Strategy of a root disk.</summary>
    public const string RootfsStrategy = "oci_rootfs";

    private readonly string _file;
    private readonly string _directory;
    private readonly TomlNode _root;
    private readonly TomlFaults _faults;

    private BuildConfigReader(string file, TomlNode root)
    {
        _file = file;
        _directory = Path.GetDirectoryName(Path.GetFullPath(file)) ?? "/";
        _root = root;
        _faults = new TomlFaults(file);
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
        if (strategy is not (null or InitramfsStrategy or RootfsStrategy))
        {
            document.Fault("strategy", $"must be \"{InitramfsStrategy}\" or \"{RootfsStrategy}\", not \"{strategy}\"");
        }

        var isRootfs = strategy == RootfsStrategy;
        var init = ReadInit(document.Table("init"), isRootfs);
        var agent = ReadAgent(document.Table("agent"), init.Mode);
        var source = document.Table("source");
        var image = ReadImage(document, source, isRootfs);
        var busybox = ReadBusybox(source, isRootfs);
        source?.RefuseUnread();
        var mappings = ReadMappings(document.Table("mappings"));
        var filesystem = ReadFilesystem(document, document.Table("filesystem"), strategy);
        document.RefuseUnread();
        return _faults.None
            ? new BuildConfig(_directory, init, agent, busybox, mappings, image, filesystem)
            : throw new FledgeException([.. _faults.All]);
    }

    private static InitChoice ReadInit(TomlTableReader? table, bool isRootfs)
    {
        if (table is null)
        {
            return new InitChoice(InitMode.Agent);
        }

        if (isRootfs)
        {
            table.Fault(string.Empty, $"belongs to strategy \"{InitramfsStrategy}\": a root disk is started by the agent; remove the table");
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
                if (table.String("version", required: true) is { } version && version.TrimStart('v') != Commands.FledgeApp.Version())
                {
                    table.Fault("version", $"is \"{version}\", but this fledge brings the agent of release {Commands.FledgeApp.Version()}; name that one, or fetch another with source_strategy \"http\"");
                }

                break;
            default:
                table.Fault("source_strategy", $"must be \"release\", \"local\" or \"http\", not \"{strategy}\"");
                return source;
        }

        table.RefuseUnread($"with source_strategy \"{strategy}\"");
        return source;
    }

    private static ProgramSource? ReadBusybox(TomlTableReader? table, bool isRootfs)
    {
        if (isRootfs)
        {
            foreach (var key in (ReadOnlySpan<string>)["busybox", "busybox_url", "busybox_sha256"])
            {
                if (table?.Has(key) == true)
                {
                    table.Skip(key);
                    table.Fault(key, $"belongs to strategy \"{InitramfsStrategy}\"; a root disk has the image's programs. Remove it");
                }
            }

            return null;
        }

        if (table is null)
        {
            return new ProgramSource.Default();
        }

        var wanted = table.Boolean("busybox") ?? true;
        var url = table.String("busybox_url");
        var checksum = table.String("busybox_sha256");
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
}
