using System.Security.Cryptography;
using Volant.Cli.Api;

namespace Volant.Cli.Media;

/// <summary>A file of this machine, open for reading, with its digest.</summary>
/// <remarks>One handle is hashed and then uploaded, so a file that is replaced meanwhile cannot slip other bytes under the digest.</remarks>
internal sealed class LocalFile : IAsyncDisposable
{
    private LocalFile(string path, FileStream stream, string sha256)
    {
        Path = path;
        Stream = stream;
        Sha256 = sha256;
    }

    /// <summary>Absolute path.</summary>
    public string Path { get; }

    /// <summary>The content, positioned at its start.</summary>
    public FileStream Stream { get; }

    /// <summary>Digest in canonical form.</summary>
    public string Sha256 { get; }

    /// <summary>Opens a file and reads it once to compute its digest.</summary>
    /// <exception cref="CliException">It is not a readable, non-empty regular file.</exception>
    public static async Task<LocalFile> OpenAsync(string path, CancellationToken cancellationToken)
    {
        OpenSsl.Require("Computing a checksum");
        try
        {
            // Pipes, devices and most of /proc say that they are empty; opening them could block, reading them never end.
            if (new FileInfo(path).Length == 0)
            {
                throw CliException.Failed($"'{path}' is empty or no regular file.");
            }

            var stream = new FileStream(path, new FileStreamOptions { Options = FileOptions.SequentialScan | FileOptions.Asynchronous, BufferSize = 0 });
            try
            {
                var digest = Convert.ToHexStringLower(await SHA256.HashDataAsync(stream, cancellationToken));
                stream.Position = 0;
                return new LocalFile(path, stream, digest);
            }
            catch
            {
                await stream.DisposeAsync();
                throw;
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw CliException.Failed($"'{path}' cannot be read: {e.Message}", e);
        }
    }

    /// <inheritdoc/>
    public ValueTask DisposeAsync() => Stream.DisposeAsync();
}
