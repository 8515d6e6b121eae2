using Volant.Contracts;
using Volant.Contracts.Manifests;

namespace Volant.Cli.Media;

/// <summary>Where a manifest or a configuration came from: what its relative references mean, and whether it may name local files.</summary>
/// <remarks>A document from the network never reads a file of this machine: it could name any, and the guest would get it.</remarks>
internal sealed class DocumentOrigin
{
    private readonly string? _directory;
    private readonly Uri? _url;

    private DocumentOrigin(string? directory, Uri? url)
    {
        _directory = directory;
        _url = url;
    }

    /// <summary>Whether files of this machine are uploaded on behalf of the document.</summary>
    public bool IsLocal => _directory is not null;

    /// <summary>A document in this directory (absolute).</summary>
    public static DocumentOrigin InDirectory(string directory) => new(directory, url: null);

    /// <summary>A document in this file (absolute).</summary>
    public static DocumentOrigin OfFile(string path) => InDirectory(Path.GetDirectoryName(path) ?? "/");

    /// <summary>A document fetched from this URL.</summary>
    public static DocumentOrigin FetchedFrom(Uri url) => new(directory: null, url);

    /// <summary>Makes a relative medium reference absolute; anything else stays as it is.</summary>
    public string? Resolve(string? reference)
    {
        var text = reference?.Trim();
        if (string.IsNullOrEmpty(text) || text.Any(char.IsControl) || text.Contains("://", StringComparison.Ordinal) || MediaReference.TryParse(text, out _))
        {
            return text;
        }

        if (_directory is not null)
        {
            return Path.GetFullPath(text, _directory);
        }

        return Uri.TryCreate(_url, text, out var absolute) ? absolute.AbsoluteUri : text;
    }

    /// <summary>Puts the content of files in place of their paths; what cannot be read is added to <paramref name="faults"/>.</summary>
    public CloudInit? Inline(CloudInit? cloudInit, string path, List<FieldError> faults) => cloudInit is null ? null : cloudInit with
    {
        UserData = Inline(cloudInit.UserData, $"{path}.user_data.path", faults),
        MetaData = Inline(cloudInit.MetaData, $"{path}.meta_data.path", faults),
        NetworkConfig = Inline(cloudInit.NetworkConfig, $"{path}.network_config.path", faults),
    };

    private CloudInitDocument? Inline(CloudInitDocument? document, string path, List<FieldError> faults)
    {
        if (document?.Path is not { } file || document.Content is not null)
        {
            return document;
        }

        if (_directory is null)
        {
            faults.Add(new FieldError(path, "names a local file, which a manifest from the network may not; use inline content"));
            return document;
        }

        try
        {
            return CloudInitRules.Inline(TextFile.ReadBytes(Path.GetFullPath(file, _directory), CloudInitRules.MaxBytes));
        }
        catch (CliException e)
        {
            faults.Add(new FieldError(path, e.Message));
            return document;
        }
    }
}
