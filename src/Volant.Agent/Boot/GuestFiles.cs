using System.Net;
using System.Text;
using Volant.Linux.IO;

namespace Volant.Agent.Boot;

/// <summary>Files below /etc that programs expect and that images often lack, or have empty. What an image brings itself stays. Best effort.</summary>
/// <param name="etc">The directory.</param>
internal sealed class GuestFiles(string etc = "/etc")
{
    private const string KernelResolverFile = "/proc/net/pnp";
    private const string DhcpMark = "# by DHCP\n";

    private string Resolver => Path.Combine(etc, "resolv.conf");

    /// <summary>Writes hosts with the guest's own name, so that it can be looked up.</summary>
    public void WriteHosts(string hostname) =>
        WriteIfMissing(Path.Combine(etc, "hosts"), $"127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n127.0.1.1 {hostname}\n");

    /// <summary>Writes resolv.conf from the name servers of the boot, or from what the kernel was told by its own DHCP.</summary>
    public void WriteResolver(IReadOnlyList<IPAddress> servers)
    {
        var text = servers.Count > 0 ? NameServers(servers)
            : File.Exists(KernelResolverFile) ? File.ReadAllText(KernelResolverFile) : string.Empty;
        if (text.Contains("nameserver", StringComparison.Ordinal))
        {
            WriteIfMissing(Resolver, text);
        }
    }

    /// <summary>Writes resolv.conf from a lease, also over the one of an earlier lease.</summary>
    public void WriteLease(IReadOnlyList<IPAddress> servers, string? domain)
    {
        if (servers.Count > 0)
        {
            var search = domain is null ? string.Empty : $"search {domain}\n";
            WriteIfMissing(Resolver, $"{DhcpMark}{search}{NameServers(servers)}", DhcpMark);
        }
    }

    private static string NameServers(IReadOnlyList<IPAddress> servers) => string.Concat(servers.Select(server => $"nameserver {server}\n"));

    /// <summary>Writes a file that is missing, empty, a link to nowhere, or starts with our own mark.</summary>
    private static void WriteIfMissing(string path, string text, string? mark = null)
    {
        try
        {
            if (Read(path) is { Length: > 0 } there && (mark is null || !there.StartsWith(mark, StringComparison.Ordinal)))
            {
                return;
            }

            Directory.CreateDirectory(Path.GetDirectoryName(path)!);
            if (LinkStatus.Find(path)?.Kind == LinkKind.SymbolicLink)
            {
                File.Delete(path);
            }

            File.WriteAllText(path, text, Encoding.ASCII);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or System.ComponentModel.Win32Exception)
        {
            // A full disk, or a directory in its place: the image has decided for itself.
        }
    }

    /// <summary>Content of a file; null when nothing is there, or a link that leads nowhere.</summary>
    private static string? Read(string path)
    {
        try
        {
            return File.ReadAllText(path);
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            return null;
        }
    }
}
