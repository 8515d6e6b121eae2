using System.Text.Json;
using System.Text.Json.Nodes;
using Volant.Contracts;
using Volant.Contracts.Api;

namespace Volant.Daemon.Api.Mcp;

/// <summary>A VM's configuration as a tool takes it: any object for the schema, so that the list of tools stays short; checked like everywhere here.</summary>
internal static class ToolConfig
{
    /// <summary>What an agent is told of it.</summary>
    public const string Description =
        "More configuration, seldom needed: 'restart' {policy: no|on-failure|always, max_attempts}, 'network' {mode: vsock|bridged}, 'kernel_cmdline', 'metadata'; VmConfig in /openapi has all of it. An unknown member is refused.";

    /// <summary>Reads it; null for none.</summary>
    /// <exception cref="VolantException"><c>invalid_request</c>, naming the member.</exception>
    public static VmConfig? Read(JsonObject? config)
    {
        try
        {
            return config?.Deserialize(ContractsJson.Strict.VmConfig);
        }
        catch (JsonException e)
        {
            var fault = StrictJson.Explain(e);
            fault = fault with { Path = fault.Path == "$" ? "config" : $"config.{fault.Path}" };
            throw new VolantException(ErrorCodes.InvalidRequest, $"The arguments are not valid: {fault.Path} {fault.Message}.", e) { Fields = [fault] };
        }
    }
}
