using System.Globalization;
using System.Text;

namespace Volant.Cli.Media;

/// <summary>Reads small files whole.</summary>
internal static class TextFile
{
    private static readonly UTF8Encoding StrictUtf8 = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    /// <summary>The bytes of a file or a pipe.</summary>
    /// <exception cref="CliException">It cannot be read, or has more than <paramref name="most"/> bytes.</exception>
    public static byte[] ReadBytes(string path, int most)
    {
        try
        {
            using var stream = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite, bufferSize: 0);
            var bytes = new byte[most + 1];
            var length = stream.ReadAtLeast(bytes, bytes.Length, throwOnEndOfStream: false);
            return length <= most
                ? bytes[..length]
                : throw CliException.Failed(string.Create(CultureInfo.InvariantCulture, $"'{path}' has more than {most} bytes."));
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            throw CliException.Failed($"'{path}' does not exist.", e);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw CliException.Failed($"'{path}' cannot be read: {e.Message}", e);
        }
    }

    /// <summary>The text of a file.</summary>
    /// <exception cref="CliException">It cannot be read, is too large, or is not UTF-8.</exception>
    public static string Read(string path, int most)
    {
        try
        {
            return StrictUtf8.GetString(ReadBytes(path, most));
        }
        catch (DecoderFallbackException e)
        {
            throw CliException.Failed($"'{path}' is not UTF-8 text.", e);
        }
    }
}
