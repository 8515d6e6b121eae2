using System.Text.Json;
using System.Text.Json.Serialization;

namespace Volant.Contracts.Api;

/// <summary>Body of <c>POST /api/v1/mcp</c> in its older one-shot form: one command, one answer.</summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed record McpCommand
{
    /// <summary>One of <see cref="McpCommands"/>.</summary>
    public string? Command { get; init; }

    /// <summary>What the command takes; of <see cref="McpCommands.CreateVm"/> a <see cref="CreateVmRequest"/>.</summary>
    public JsonElement? Params { get; init; }
}

/// <summary>Answer to a <see cref="McpCommand"/> that succeeded. One that failed is answered with a <see cref="Problem"/>, which has <c>error</c>.</summary>
public sealed record McpAnswer
{
    /// <summary>What the command says: a <see cref="Vm"/>, a list of them, or the commands.</summary>
    public required JsonElement Result { get; init; }
}

/// <summary>Commands of the one-shot form (contract §2).</summary>
public static class McpCommands
{
    /// <summary>Every VM.</summary>
    public const string ListVms = "volant.vms.list";

    /// <summary>Creates and starts a VM.</summary>
    public const string CreateVm = "volant.vms.create";

    /// <summary>What commands there are.</summary>
    public const string GetCapabilities = "volant.system.get_capabilities";
}
