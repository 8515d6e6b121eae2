using System.Text.Json;
using System.Text.Json.Serialization;

namespace Volant.Daemon.Hypervisors.Qemu;

/// <summary>An event that QEMU reports on its own.</summary>
/// <param name="Name">Name, for instance <c>SHUTDOWN</c>.</param>
/// <param name="Data">Its members; undefined when there are none.</param>
internal readonly record struct QmpEvent(string Name, JsonElement Data);

/// <summary>QEMU refused a command, or does not answer.</summary>
internal sealed class QmpException(string message, Exception? innerException = null) : IOException(message, innerException);

/// <summary>What we send.</summary>
internal sealed record QmpCommand(
    [property: JsonPropertyName("execute")] string Execute,
    [property: JsonPropertyName("id")] long Id);

/// <summary>What QEMU sends: a greeting, a reply or an event, told apart by the member that is there.</summary>
internal sealed record QmpMessage
{
    [JsonPropertyName("QMP")]
    public QmpGreeting? Greeting { get; set; }

    [JsonPropertyName("return")]
    public JsonElement Return { get; set; }

    [JsonPropertyName("error")]
    public QmpError? Error { get; set; }

    [JsonPropertyName("id")]
    public long? Id { get; set; }

    [JsonPropertyName("event")]
    public string? Event { get; set; }

    [JsonPropertyName("data")]
    public JsonElement Data { get; set; }
}

/// <summary>First message of a session.</summary>
internal sealed record QmpGreeting;

/// <summary>A refused command.</summary>
internal sealed record QmpError
{
    [JsonPropertyName("class")]
    public string? Class { get; set; }

    [JsonPropertyName("desc")]
    public string? Description { get; set; }
}

/// <summary>QMP's messages never leave this folder.</summary>
[JsonSerializable(typeof(QmpCommand))]
[JsonSerializable(typeof(QmpMessage))]
internal sealed partial class QmpJson : JsonSerializerContext;
