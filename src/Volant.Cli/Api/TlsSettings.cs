using System.Diagnostics.CodeAnalysis;
using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Volant.Cli.Api;

/// <summary>Whom to trust over https, and what to show.</summary>
/// <param name="CaFile">Certificates (PEM) to trust in place of the system's; null for the system's.</param>
/// <param name="CertFile">Own certificate (PEM); null for none.</param>
/// <param name="KeyFile">Its key (PEM); null when it stands in the same file.</param>
/// <param name="Insecure">Whether any certificate will do.</param>
internal sealed record TlsSettings(string? CaFile, string? CertFile, string? KeyFile, bool Insecure)
{
    /// <summary>The system's trust, no certificate.</summary>
    public static TlsSettings Default { get; } = new(null, null, null, Insecure: false);

    /// <summary>Options for a handshake. Needs OpenSSL.</summary>
    /// <exception cref="CliException">A file cannot be read or is no PEM.</exception>
    [SuppressMessage("Security", "CA5359", Justification = "Only where the user asks for it, who is warned with every command.")]
    public SslClientAuthenticationOptions ToOptions()
    {
        var options = new SslClientAuthenticationOptions();
        if (Insecure)
        {
            // What the user asked for, and was warned of.
            options.RemoteCertificateValidationCallback = static (_, _, _, _) => true;
        }
        else if (CaFile is not null)
        {
            var trusted = Read(CaFile, "--tls-ca", () =>
            {
                var certificates = new X509Certificate2Collection();
                certificates.ImportFromPemFile(CaFile);
                return certificates.Count > 0 ? certificates : throw new CryptographicException("it holds no certificate");
            });
            options.CertificateChainPolicy = new X509ChainPolicy { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck };
            options.CertificateChainPolicy.CustomTrustStore.AddRange(trusted);
        }

        if (CertFile is not null)
        {
            options.ClientCertificates = [Read(CertFile, "--tls-cert", () => X509Certificate2.CreateFromPemFile(CertFile, KeyFile))];
        }
        else if (KeyFile is not null)
        {
            throw CliException.Usage("--tls-key has no meaning without --tls-cert; add it.");
        }

        return options;
    }

    private static T Read<T>(string file, string option, Func<T> read)
    {
        try
        {
            return read();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or CryptographicException)
        {
            throw CliException.Failed($"'{file}' ({option}) cannot be used: {e.Message}", e);
        }
    }
}
