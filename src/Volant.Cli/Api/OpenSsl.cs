using System.Runtime.InteropServices;

namespace Volant.Cli.Api;

/// <summary>Looks for the host's OpenSSL before something needs it.</summary>
/// <remarks>The runtime aborts the whole process when it is missing; a sentence with the remedy serves better.</remarks>
internal static class OpenSsl
{
    /// <summary>The names that the runtime tries, newest first.</summary>
    private static readonly string[] Libraries = ["libssl.so.3", "libssl.so.1.1", "libssl.so.1.0.2", "libssl.so.1.0.0", "libssl.so.10"];

    /// <summary>Returns when OpenSSL can be loaded.</summary>
    /// <param name="purpose">What needs it, as the start of a sentence.</param>
    /// <exception cref="CliException">It is not installed.</exception>
    public static void Require(string purpose)
    {
        // With the override the runtime looks for a name that only the user knows.
        if (Environment.GetEnvironmentVariable("CLR_OPENSSL_VERSION_OVERRIDE") is { Length: > 0 } || Libraries.Any(CanLoad))
        {
            return;
        }

        throw CliException.Failed($"{purpose} needs OpenSSL, and libssl.so.3 cannot be loaded: install the package libssl3 (Debian, Ubuntu) or openssl-libs (Fedora).");
    }

    private static bool CanLoad(string library) => NativeLibrary.TryLoad(library, out _);
}
