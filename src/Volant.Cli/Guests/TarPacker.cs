using System.Formats.Tar;
using System.Net;
using System.Net.Http.Headers;
using Volant.Contracts.Api;
using Volant.Linux.IO;

namespace Volant.Cli.Guests;

/// <summary>A directory of this machine as the body of a request: a tar made while it is sent.</summary>
internal sealed class TarPacker : HttpContent
{
    private readonly string _directory;
    private readonly Action<string> _skipped;
    private readonly Action<long> _progress;
    private long _packed;

    /// <param name="directory">Absolute path.</param>
    /// <param name="skipped">Told what cannot travel: sockets, pipes, devices.</param>
    /// <param name="progress">Told how many bytes were packed.</param>
    public TarPacker(string directory, Action<string> skipped, Action<long> progress)
    {
        (_directory, _skipped, _progress) = (directory, skipped, progress);
        Headers.ContentType = new MediaTypeHeaderValue(FileTypes.Tar);
    }

    /// <inheritdoc/>
    protected override Task SerializeToStreamAsync(Stream stream, TransportContext? context) => SerializeToStreamAsync(stream, context, CancellationToken.None);

    /// <inheritdoc/>
    protected override async Task SerializeToStreamAsync(Stream stream, TransportContext? context, CancellationToken cancellationToken)
    {
        // Not pax: the reader of .NET, which the agent has, refuses pax records with a line break, which a name may hold.
        await using var tar = new TarWriter(stream, TarEntryFormat.Gnu, leaveOpen: true);
        await PackAsync(tar, _directory, "./", cancellationToken);
    }

    /// <inheritdoc/>
    protected override bool TryComputeLength(out long length)
    {
        length = 0;
        return false;
    }

    private async Task PackAsync(TarWriter tar, string directory, string name, CancellationToken cancellationToken)
    {
        await tar.WriteEntryAsync(directory, name, cancellationToken);
        foreach (var path in Directory.EnumerateFileSystemEntries(directory, "*", new EnumerationOptions { AttributesToSkip = FileAttributes.None }).Order(StringComparer.Ordinal))
        {
            var entry = name + Path.GetFileName(path);
            switch (LinkStatus.Find(path))
            {
                case { Kind: LinkKind.Directory }:
                    await PackAsync(tar, path, entry + "/", cancellationToken);
                    break;
                case { Kind: LinkKind.File } file:
                    await tar.WriteEntryAsync(path, entry, cancellationToken);
                    _packed += file.SizeBytes;
                    _progress(_packed);
                    break;
                case { Kind: LinkKind.SymbolicLink }:
                    await tar.WriteEntryAsync(path, entry, cancellationToken);
                    break;
                case null:
                    // Removed since the directory was read.
                    break;
                default:
                    _skipped(path);
                    break;
            }
        }
    }
}
