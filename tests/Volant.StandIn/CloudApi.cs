using System.Globalization;
using System.Text;
using System.Text.Json;

namespace Volant.StandIn;

/// <summary>One connection to the API: HTTP/1.1, as strict as the real server.</summary>
/// <remarks>
/// Source: Cloud Hypervisor, vmm/src/api/http and docs/api.md, statuses of version 53: an action with a body, another verb and a media type with
/// a charset are refused; a failure is a JSON array of strings.
/// </remarks>
internal sealed class CloudApi(CloudMonitor monitor)
{
    private const string Root = "/api/v1/";
    private const int MaxBytes = 4 * 1024 * 1024;

    private byte[] _buffer = new byte[64 * 1024];
    private readonly List<int> _descriptors = [];
    private int _count;

    /// <summary>Reads what is there and answers it; false when the connection is over.</summary>
    public bool Serve(int socket)
    {
        if (_count == _buffer.Length)
        {
            Array.Resize(ref _buffer, 2 * _count);
        }

        var read = LibC.Receive(socket, _buffer.AsSpan(_count), _descriptors);
        if (read <= 0)
        {
            return read != 0;
        }

        _count += read;
        var end = _buffer.AsSpan(0, _count).IndexOf("\r\n\r\n"u8);
        if (end < 0)
        {
            return _count < MaxBytes;
        }

        var lines = Encoding.ASCII.GetString(_buffer, 0, end).Split("\r\n");
        var length = int.Parse(Header(lines, "Content-Length") ?? "0", CultureInfo.InvariantCulture);
        if (_count < end + 4 + length)
        {
            return true;
        }

        var (status, body) = lines[0].Contains("/vm.boot ", StringComparison.Ordinal) && monitor.Fault.Is("hang-boot") ? (0, string.Empty) : Answer(lines, _buffer.AsMemory(end + 4, length));
        _count = 0;
        _descriptors.ForEach(descriptor => _ = LibC.Close(descriptor));
        _descriptors.Clear();
        if (status == 0)
        {
            return true;
        }

        LibC.Send(socket, Encoding.UTF8.GetBytes(
            $"HTTP/1.1 {status} \r\nServer: Cloud Hypervisor API\r\nConnection: keep-alive\r\n" + (body.Length > 0 ? $"Content-Type: application/json\r\nContent-Length: {Encoding.UTF8.GetByteCount(body)}\r\n\r\n{body}" : status == 204 ? "\r\n" : "Content-Length: 0\r\n\r\n")));
        return true;
    }

    private (int Status, string Body) Answer(string[] lines, ReadOnlyMemory<byte> body)
    {
        try
        {
            var request = lines[0].Split(' ');
            if (Header(lines, "Transfer-Encoding") is not null || (Header(lines, "Content-Type") ?? "application/json") != "application/json")
            {
                throw new CloudRefusal(400, "Bad request");
            }

            return request[1].StartsWith(Root, StringComparison.Ordinal) ? Answer(request[0], request[1][Root.Length..], body) : throw new CloudRefusal(404, "Not found");
        }
        catch (CloudRefusal refusal)
        {
            return (refusal.Status, refusal.Body);
        }
    }

    private (int Status, string Body) Answer(string verb, string what, ReadOnlyMemory<byte> body)
    {
        var isQuestion = what is "vmm.ping" or "vm.info" or "vm.counters";
        if (verb != (isQuestion ? "GET" : "PUT") || (what is "vm.create" or "vm.add-net") == body.IsEmpty)
        {
            throw new CloudRefusal(400, "Bad request");
        }

        switch (what)
        {
            case "vmm.ping":
                return (200, $$"""{"build_version":"v53.0.0","version":"53.0.0","pid":{{Environment.ProcessId}},"features":["kvm","io_uring"]}""");
            case "vm.info":
                return (200, $$$"""{"config":{"payload":{"kernel":"/k"}},"state":"{{{Need()}}}","memory_actual_size":1}""");
            case "vm.counters":
                Need();
                return (200, """{"disk0":{"read_bytes":4096,"read_ops":1},"net0":{"rx_bytes":1,"tx_bytes":2}}""");
            case "vm.create":
                Create(Parse(body));
                break;
            case "vm.add-net":
                Need("Created");
                CloudConfig.CheckNet(Parse(body), _descriptors);

                // They are the VM's now.
                _descriptors.Clear();
                break;
            case "vm.boot":
                Need("Created");
                if (monitor.Fault.Is("exec-fail"))
                {
                    throw new CloudRefusal(500, "Error from API", "The VM could not boot", "told to fail");
                }

                monitor.Boot();
                break;
            case "vm.pause":
                Need("Running");
                monitor.Pause(true);
                break;
            case "vm.resume":
                Need("Paused");
                monitor.Pause(false);
                break;
            case "vm.power-button":
                Need("Running");
                monitor.PowerOff();
                break;
            case "vmm.shutdown":
                monitor.End();
                break;
            default:
                throw new CloudRefusal(404, "Not found");
        }

        return (204, string.Empty);
    }

    private string Need(string? state = null)
    {
        var now = monitor.State ?? throw new CloudRefusal(404, "Error from API", "The VM is not created");
        return state is null || now == state ? now : throw new CloudRefusal(500, "Error from API", $"Invalid state transition from {now}");
    }

    private void Create(JsonElement vm)
    {
        if (monitor.State is not null)
        {
            throw new CloudRefusal(500, "Error from API", "The VM is already created");
        }

        CloudConfig.Check(vm);
        monitor.Create(vm);
    }

    private static JsonElement Parse(ReadOnlyMemory<byte> body)
    {
        try
        {
            return JsonDocument.Parse(body).RootElement;
        }
        catch (JsonException e)
        {
            throw new CloudRefusal(400, "Failed to deserialize JSON", e.Message);
        }
    }

    private static string? Header(string[] lines, string name) =>
        lines.FirstOrDefault(line => line.StartsWith(name + ":", StringComparison.OrdinalIgnoreCase))?[(name.Length + 1)..].Trim();
}
