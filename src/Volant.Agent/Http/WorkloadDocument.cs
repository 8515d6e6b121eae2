using System.Text;

namespace Volant.Agent.Http;

/// <summary>A document that the workload serves.</summary>
/// <param name="Status">Status of the answer.</param>
/// <param name="Type">Content type; empty when it named none.</param>
/// <param name="Body">The body; empty unless the status is 2xx.</param>
internal sealed record WorkloadDocument(int Status, string Type, byte[] Body)
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(5);

    /// <summary>Asks the workload with a GET, and takes no longer than 5 s.</summary>
    /// <param name="target">The workload.</param>
    /// <param name="path">Whole path of the request.</param>
    /// <param name="mostBytes">Largest body.</param>
    /// <param name="clock">Clock of the limit.</param>
    /// <param name="cancellationToken">Gives up.</param>
    /// <exception cref="IOException">It cannot be reached, is too slow, does not speak HTTP, or the body is too large.</exception>
    public static async Task<WorkloadDocument> GetAsync(WorkloadTarget target, string path, int mostBytes, TimeProvider clock, CancellationToken cancellationToken)
    {
        using var limit = new CancellationTokenSource(Patience, clock);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(limit.Token, cancellationToken);
        try
        {
            using var connection = await WorkloadConnection.OpenAsync(target, clock, either.Token);
            var request = $"GET {path} HTTP/1.1\r\nHost: {target.Authority}\r\nUser-Agent: kestrel\r\nAccept: */*\r\nConnection: close\r\n\r\n";
            await connection.WriteAsync(Encoding.UTF8.GetBytes(request), either.Token);
            var head = await connection.ReadHeadAsync(either.Token);
            var type = head.Fields.FirstOrDefault(field => field.Key.Equals("Content-Type", StringComparison.OrdinalIgnoreCase)).Value ?? string.Empty;
            return new WorkloadDocument(head.Status, type, head.Status is >= 200 and < 300 ? await ReadAsync(connection.Body(head, "GET"), mostBytes, either.Token) : []);
        }
        catch (OperationCanceledException e) when (!cancellationToken.IsCancellationRequested)
        {
            throw new IOException($"The workload did not answer GET {path} within {Patience.TotalSeconds} s.", e);
        }
    }

    private static async Task<byte[]> ReadAsync(ResponseBody body, int mostBytes, CancellationToken cancellationToken)
    {
        using var bytes = new MemoryStream();
        var buffer = new byte[16 * 1024];
        while (await body.ReadAsync(buffer, cancellationToken) is > 0 and var count)
        {
            await bytes.WriteAsync(buffer.AsMemory(0, count), cancellationToken);
            if (bytes.Length > mostBytes)
            {
                throw new IOException($"The workload's document has more than {mostBytes} bytes.");
            }
        }

        return bytes.ToArray();
    }
}
