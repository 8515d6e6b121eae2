using System.Diagnostics.CodeAnalysis;
using System.Net;
using System.Net.Http.Headers;
using System.Runtime.InteropServices;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using Volant.Linux.IO;

namespace Volant.Daemon.Hypervisors.CloudHypervisor;

/// <summary>Cloud Hypervisor did not do what it was asked to, or did not answer; the message holds its own words.</summary>
internal sealed class CloudHypervisorException(string message, Exception? cause = null) : IOException(message, cause);

/// <summary>The HTTP API of one Cloud Hypervisor process over its Unix socket.</summary>
/// <remarks>
/// Source: Cloud Hypervisor, docs/api.md and vmm/src/api. Requests are served one after another; an action has no body, and is refused with
/// one; failures are a JSON array with the chain of causes, the status says little before version 53. Safe for concurrent use.
/// </remarks>
internal sealed class CloudHypervisorApi : IDisposable
{
    private const int MaxAnswerBytes = 4 * 1024 * 1024;
    private const int MaxErrorText = 1024;

    private static readonly Uri Root = new("http://localhost/api/v1/");
    private static readonly MediaTypeHeaderValue Json = new("application/json");

    private readonly string _socket;
    private readonly HttpClient _client;

    /// <summary>Connects with the first request.</summary>
    /// <param name="socket">Its socket.</param>
    public CloudHypervisorApi(string socket)
    {
        _socket = socket;
        _client = NewClient(descriptor: null);
    }

    /// <summary>Version of the process behind the socket.</summary>
    /// <exception cref="CloudHypervisorException">It refuses, or does not answer.</exception>
    public Task<PingAnswer> PingAsync(CancellationToken cancellationToken) => GetAsync("vmm.ping", CloudHypervisorJson.Default.PingAnswer, cancellationToken);

    /// <summary>State of its VM.</summary>
    /// <exception cref="CloudHypervisorException">It has none, refuses, or does not answer.</exception>
    public Task<InfoAnswer> InfoAsync(CancellationToken cancellationToken) => GetAsync("vm.info", CloudHypervisorJson.Default.InfoAnswer, cancellationToken);

    /// <summary>Counters of every device by its id: bytes, operations, frames.</summary>
    /// <exception cref="CloudHypervisorException">It refuses, or does not answer.</exception>
    public Task<Dictionary<string, Dictionary<string, long>>> CountersAsync(CancellationToken cancellationToken) =>
        GetAsync("vm.counters", CloudHypervisorJson.Default.DictionaryStringDictionaryStringInt64, cancellationToken);

    /// <summary>Describes the VM; nothing runs yet, but its sockets exist.</summary>
    /// <exception cref="CloudHypervisorException">It refuses, or does not answer.</exception>
    public Task CreateAsync(VmConfigBody vm, CancellationToken cancellationToken) =>
        TellAsync(_client, "vm.create", vm, CloudHypervisorJson.Default.VmConfigBody, cancellationToken);

    /// <summary>Gives a VM that does not run yet a network card.</summary>
    /// <param name="nic">The card.</param>
    /// <param name="tap">Its tap, open; goes with the request (<c>SCM_RIGHTS</c>), and may be closed afterwards.</param>
    /// <param name="cancellationToken">Gives up.</param>
    /// <exception cref="CloudHypervisorException">It refuses, or does not answer.</exception>
    public async Task AddNetAsync(NetBody nic, SafeHandle tap, CancellationToken cancellationToken)
    {
        using var client = NewClient(tap);
        await TellAsync(client, "vm.add-net", nic, CloudHypervisorJson.Default.NetBody, cancellationToken);
    }

    /// <summary>Starts the VM.</summary>
    /// <exception cref="CloudHypervisorException">It refuses, or does not answer.</exception>
    public Task BootAsync(CancellationToken cancellationToken) => ActAsync("vm.boot", cancellationToken);

    /// <summary>Presses the power button; the guest decides.</summary>
    /// <exception cref="CloudHypervisorException">It refuses, or does not answer.</exception>
    public Task PressPowerButtonAsync(CancellationToken cancellationToken) => ActAsync("vm.power-button", cancellationToken);

    /// <summary>Stops the virtual CPUs.</summary>
    /// <exception cref="CloudHypervisorException">It refuses, or does not answer.</exception>
    public Task PauseAsync(CancellationToken cancellationToken) => ActAsync("vm.pause", cancellationToken);

    /// <summary>Lets the virtual CPUs go on.</summary>
    /// <exception cref="CloudHypervisorException">It refuses, or does not answer.</exception>
    public Task ResumeAsync(CancellationToken cancellationToken) => ActAsync("vm.resume", cancellationToken);

    /// <inheritdoc/>
    public void Dispose() => _client.Dispose();

    /// <summary>A client of one connection; with a descriptor, that goes in front of the first request.</summary>
    [SuppressMessage("Reliability", "CA2000", Justification = "The client owns the handler.")]
    private HttpClient NewClient(SafeHandle? descriptor) => new(new SocketsHttpHandler
    {
        ConnectCallback = (_, cancellationToken) => new(SocketConnector.ConnectAsync(_socket, cancellationToken, descriptor)),
        MaxConnectionsPerServer = 1,
        AllowAutoRedirect = false,
        UseProxy = false,
        UseCookies = false,
        ActivityHeadersPropagator = null,
    })
    {
        BaseAddress = Root,
        Timeout = Timeout.InfiniteTimeSpan,
        MaxResponseContentBufferSize = MaxAnswerBytes,
    };

    private Task<byte[]> ActAsync(string action, CancellationToken cancellationToken) => SendAsync(_client, action, HttpMethod.Put, content: null, cancellationToken);

    private static async Task TellAsync<T>(HttpClient client, string what, T body, JsonTypeInfo<T> type, CancellationToken cancellationToken)
    {
        // No charset behind the media type: the server knows the bare one only.
        using var content = new ByteArrayContent(JsonSerializer.SerializeToUtf8Bytes(body, type));
        content.Headers.ContentType = Json;
        await SendAsync(client, what, HttpMethod.Put, content, cancellationToken);
    }

    private async Task<T> GetAsync<T>(string what, JsonTypeInfo<T> type, CancellationToken cancellationToken)
        where T : class
    {
        var body = await SendAsync(_client, what, HttpMethod.Get, content: null, cancellationToken);
        try
        {
            return JsonSerializer.Deserialize(body, type) ?? throw new CloudHypervisorException($"Cloud Hypervisor answered {what} with nothing.");
        }
        catch (JsonException e)
        {
            throw new CloudHypervisorException($"Cloud Hypervisor answered {what} with something else than was expected: {e.Message}", e);
        }
    }

    private static async Task<byte[]> SendAsync(HttpClient client, string what, HttpMethod method, HttpContent? content, CancellationToken cancellationToken)
    {
        try
        {
            using var request = new HttpRequestMessage(method, what) { Content = content };
            using var response = await client.SendAsync(request, cancellationToken);
            var body = await response.Content.ReadAsByteArrayAsync(cancellationToken);
            return response.StatusCode is HttpStatusCode.OK or HttpStatusCode.NoContent
                ? body
                : throw new CloudHypervisorException($"{what} was refused ({(int)response.StatusCode}): {Explain(body)}");
        }
        catch (HttpRequestException e)
        {
            throw new CloudHypervisorException($"Cloud Hypervisor did not answer {what}: {e.InnerException?.Message ?? e.Message}", e);
        }
    }

    /// <summary>The chain of causes as one sentence of printable text.</summary>
    private static string Explain(byte[] body)
    {
        string text;
        try
        {
            text = string.Join(": ", JsonSerializer.Deserialize(body, CloudHypervisorJson.Default.StringArray) ?? []);
        }
        catch (JsonException)
        {
            text = System.Text.Encoding.UTF8.GetString(body);
        }

        text = string.Concat(text.Take(MaxErrorText).Select(c => char.IsControl(c) ? ' ' : c)).Trim();
        return text.Length == 0 ? "no reason was given." : text.EndsWith('.') ? text : text + ".";
    }
}
