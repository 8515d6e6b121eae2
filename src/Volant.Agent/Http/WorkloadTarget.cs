using System.Net;

namespace Volant.Agent.Http;

/// <summary>Where the workload serves, from <c>workload.base_url</c>.</summary>
/// <param name="Address">Address and port.</param>
/// <param name="Authority">Value of the Host header.</param>
/// <param name="BasePath">Path that every request path is put behind; empty, or with a leading and no trailing slash.</param>
internal sealed record WorkloadTarget(IPEndPoint Address, string Authority, string BasePath)
{
    /// <summary>Reads a base URL that the manifest rules accepted.</summary>
    /// <exception cref="FormatException">It is not <c>http://IP[:port][/path]</c>.</exception>
    public static WorkloadTarget Parse(string baseUrl) =>
        Uri.TryCreate(baseUrl, UriKind.Absolute, out var url) && url.Scheme == "http" &&
        IPAddress.TryParse(url.Host.AsSpan().Trim("[]"), out var address) && url.Query.Length == 0 && url.Fragment.Length == 0
            ? new WorkloadTarget(new IPEndPoint(address, url.Port), url.Authority, url.AbsolutePath.TrimEnd('/'))
            : throw new FormatException($"The workload's base_url '{baseUrl}' is not http://<IP address>:<port>.");
}
