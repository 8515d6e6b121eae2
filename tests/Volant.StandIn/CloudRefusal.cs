namespace Volant.StandIn;

/// <summary>A request that Cloud Hypervisor refuses.</summary>
/// <param name="status">Its status.</param>
/// <param name="chain">The chain of causes.</param>
internal sealed class CloudRefusal(int status, params string[] chain) : Exception(string.Join(": ", chain))
{
    public int Status => status;

    /// <summary>The body: a JSON array.</summary>
    public string Body => $"[{string.Join(",", chain.Select(each => $"\"{each.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("\"", "\\\"", StringComparison.Ordinal)}\""))}]";
}
