using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Volant.Contracts.Manifests;

namespace Volant.Daemon.CloudInit;

/// <summary>The VM that a seed is for.</summary>
/// <param name="Uid">Its identity, which is the instance's.</param>
/// <param name="Name">Its name, which is the host name.</param>
/// <param name="Network">Its Ethernet interface; null when it has none, or the guest asks for its address itself.</param>
internal sealed record SeedInstance(Guid Uid, string Name, SeedNetwork? Network);

/// <summary>An interface whose addresses the host gives.</summary>
/// <param name="Mac">MAC address.</param>
/// <param name="Addresses">One address of each family with the length of its prefix, <c>192.168.127.2/24</c>, and that of the gateway.</param>
/// <param name="NameServer">Who is asked for names; null for nobody.</param>
internal sealed record SeedNetwork(string Mac, IReadOnlyList<(string Address, string Gateway)> Addresses, string? NameServer = null);

/// <summary>The files of a NoCloud seed.</summary>
/// <remarks>Source: cloud-init, doc/rtd/reference/datasources/nocloud.rst and network-config-format-v2.rst.</remarks>
internal static class SeedDocuments
{
    private const string InstanceId = "instance-id";
    private const string Hostname = "local-hostname";

    /// <summary>The files by name. User data is always there: without it cloud-init takes the seed for none.</summary>
    public static IReadOnlyList<(string Name, byte[] Content)> Build(Contracts.Manifests.CloudInit seed, SeedInstance instance)
    {
        List<(string, byte[])> files =
        [
            ("meta-data", MetaData(seed.MetaData is { } meta ? CloudInitRules.BytesOf(meta)! : [], instance)),
            ("user-data", seed.UserData is { } user ? CloudInitRules.BytesOf(user)! : []),
        ];
        var network = seed.NetworkConfig is { } config ? CloudInitRules.BytesOf(config) : instance.Network is { } given ? Encoding.UTF8.GetBytes(NetworkConfig(given)) : null;
        if (network is not null)
        {
            files.Add(("network-config", network));
        }

        return files;
    }

    /// <summary>What the user says, and what he does not say of instance and host name.</summary>
    private static byte[] MetaData(byte[] given, SeedInstance instance)
    {
        (string Key, string Value)[] defaults = [(InstanceId, instance.Uid.ToString("D")), (Hostname, instance.Name)];
        var text = Encoding.UTF8.GetString(given);
        if (text.TrimStart().StartsWith('{'))
        {
            return CompleteJson(text, defaults) ?? given;
        }

        var keys = text.Split('\n').Where(line => line.Contains(':', StringComparison.Ordinal)).Select(line => line[..line.IndexOf(':', StringComparison.Ordinal)].TrimEnd().Trim('"', '\'')).ToHashSet(StringComparer.Ordinal);
        var missing = defaults.Where(item => !keys.Contains(item.Key)).Select(item => $"{item.Key}: {item.Value}\n").ToArray();
        return missing.Length == 0 ? given : Encoding.UTF8.GetBytes($"{text}{(text.Length > 0 && !text.EndsWith('\n') ? "\n" : string.Empty)}{string.Concat(missing)}");
    }

    /// <summary>JSON is YAML, too; null when it is not JSON after all.</summary>
    private static byte[]? CompleteJson(string text, (string Key, string Value)[] defaults)
    {
        try
        {
            if (JsonNode.Parse(text) is not JsonObject members)
            {
                return null;
            }

            foreach (var (key, value) in defaults)
            {
                if (!members.ContainsKey(key))
                {
                    members[key] = value;
                }
            }

            return Encoding.UTF8.GetBytes(members.ToJsonString());
        }
        catch (JsonException)
        {
            return null;
        }
    }

    private static string NetworkConfig(SeedNetwork network) => $"""
        version: 2
        ethernets:
          eth0:
            match:
              macaddress: "{network.Mac}"
            set-name: eth0
            addresses: [{string.Join(", ", network.Addresses.Select(each => $"\"{each.Address}\""))}]
            routes:
        {string.Concat(network.Addresses.Select(each => $"      - to: \"{(each.Gateway.Contains(':', StringComparison.Ordinal) ? "::/0" : "0.0.0.0/0")}\"\n        via: \"{each.Gateway}\"\n"))}{(network.NameServer is { } server ? $"    nameservers:\n      addresses: [\"{server}\"]\n" : string.Empty)}
        """;
}
