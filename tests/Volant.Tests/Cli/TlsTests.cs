using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Volant.Cli;

namespace Volant.Tests.Cli;

public sealed class TlsTests : IDisposable
{
    private readonly DirectoryInfo _directory = Directory.CreateTempSubdirectory("volar-tls-");
    private readonly X509Certificate2 _certificate = Make("CN=volantd");

    public void Dispose()
    {
        _certificate.Dispose();
        _directory.Delete(recursive: true);
    }

    [Fact]
    public async Task A_certificate_that_nobody_vouches_for_is_refused_unless_the_user_trusts_it_or_does_not_care()
    {
        await using var daemon = await FakeDaemon.StartAsync((context, _) => context.JsonAsync(200, FakeAnswers.Vm()), certificate: _certificate);
        var authority = Path.Combine(_directory.FullName, "ca.pem");
        await File.WriteAllTextAsync(authority, _certificate.ExportCertificatePem(), TestContext.Current.CancellationToken);

        var refused = await TestCli.For(daemon).RunAsync("vms", "get", "web");
        var trusted = await TestCli.For(daemon).RunAsync("vms", "get", "web", "--tls-ca", authority);
        var careless = await new TestCli { Environment = { ["VOLANT_API_BASE"] = daemon.Address, ["VOLANT_TLS_INSECURE"] = "1" } }.RunAsync("vms", "get", "web");

        Assert.Equal(ExitCodes.Unreachable, refused.ExitCode);
        Assert.Contains("cannot be trusted", refused.Error, StringComparison.Ordinal);
        Assert.Equal((ExitCodes.Ok, string.Empty), (trusted.ExitCode, trusted.Error));
        Assert.Equal(ExitCodes.Ok, careless.ExitCode);
        Assert.Contains("is not checked", careless.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_own_certificate_is_shown()
    {
        string? shown = null;
        await using var daemon = await FakeDaemon.StartAsync(
            (context, _) =>
            {
                shown = context.Connection.ClientCertificate?.Subject;
                return context.JsonAsync(200, FakeAnswers.Vm());
            },
            certificate: _certificate);
        using var own = Make("CN=operator");
        var (cert, key) = (Path.Combine(_directory.FullName, "own.pem"), Path.Combine(_directory.FullName, "own.key"));
        await File.WriteAllTextAsync(cert, own.ExportCertificatePem(), TestContext.Current.CancellationToken);
        await File.WriteAllTextAsync(key, own.GetECDsaPrivateKey()!.ExportPkcs8PrivateKeyPem(), TestContext.Current.CancellationToken);

        var result = await new TestCli { Environment = { ["VOLANT_API_BASE"] = daemon.Address, ["VOLANT_TLS_CERT"] = cert, ["VOLANT_TLS_KEY"] = key } }.RunAsync("vms", "get", "web", "--tls-insecure");

        Assert.Equal(ExitCodes.Ok, result.ExitCode);
        Assert.Equal("CN=operator", shown);
    }

    [Fact]
    public async Task A_file_that_is_no_certificate_is_named()
    {
        var file = Path.Combine(_directory.FullName, "none.pem");
        await File.WriteAllTextAsync(file, "nothing", TestContext.Current.CancellationToken);

        var result = await new TestCli().RunAsync("vms", "list", "--api", "https://127.0.0.1:1", "--tls-ca", file);

        Assert.Equal(ExitCodes.Failed, result.ExitCode);
        Assert.Contains($"'{file}' (--tls-ca) cannot be used", result.Error, StringComparison.Ordinal);
    }

    private static X509Certificate2 Make(string subject)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest(subject, key, HashAlgorithmName.SHA256);
        var names = new SubjectAlternativeNameBuilder();
        names.AddIpAddress(IPAddress.Loopback);
        request.CertificateExtensions.Add(names.Build());
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(certificateAuthority: true, hasPathLengthConstraint: false, 0, critical: true));
        return request.CreateSelfSigned(TimeProvider.System.GetUtcNow().AddDays(-1), TimeProvider.System.GetUtcNow().AddDays(1));
    }
}
