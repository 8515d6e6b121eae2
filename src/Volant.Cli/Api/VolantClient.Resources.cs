using System.Globalization;
using System.Net.Http.Headers;
using System.Text.Json;
using Volant.Contracts;
using Volant.Contracts.Api;

namespace Volant.Cli.Api;

/// <summary>Configurations, deployments, plugins and the daemon itself.</summary>
internal sealed partial class VolantClient
{
    /// <summary>The configuration of a VM.</summary>
    public Task<Answer<VmConfigVersion>> GetConfigAsync(string name, CancellationToken cancellationToken = default) =>
        GetAsync($"api/v1/vms/{name}/config", ContractsJson.Default.VmConfigVersion, cancellationToken);

    /// <summary>Changes the configuration of a VM (a JSON merge patch, RFC 7396).</summary>
    /// <param name="name">VM.</param>
    /// <param name="patch">The patch as UTF-8 JSON.</param>
    /// <param name="version">Version that it must have; null for any.</param>
    /// <param name="cancellationToken">Cancelled by the user.</param>
    public async Task<Answer<VmConfigVersion>> PatchConfigAsync(string name, byte[] patch, int? version, CancellationToken cancellationToken = default)
    {
        using var request = new HttpRequestMessage(HttpMethod.Patch, $"api/v1/vms/{name}/config") { Content = Json(patch) };
        if (version is { } wanted)
        {
            request.Headers.IfMatch.Add(new EntityTagHeaderValue(string.Create(CultureInfo.InvariantCulture, $"\"{wanted}\"")));
        }

        return connection.Read(await connection.SucceedAsync(request, ChangeTimeout, cancellationToken), ContractsJson.Default.VmConfigVersion);
    }

    /// <summary>Earlier and current configurations, newest first.</summary>
    public Task<Answer<IReadOnlyList<VmConfigVersion>>> ListConfigsAsync(string name, int? limit, CancellationToken cancellationToken = default) =>
        GetAsync($"api/v1/vms/{name}/config/history{(limit is null ? string.Empty : string.Create(CultureInfo.InvariantCulture, $"?limit={limit}"))}", ContractsJson.Default.IReadOnlyListVmConfigVersion, cancellationToken);

    /// <summary>Every deployment, by name.</summary>
    public Task<Answer<IReadOnlyList<Deployment>>> ListDeploymentsAsync(CancellationToken cancellationToken = default) =>
        GetAsync("api/v1/deployments?limit=10000", ContractsJson.Default.IReadOnlyListDeployment, cancellationToken);

    /// <summary>One deployment.</summary>
    public Task<Answer<Deployment>> GetDeploymentAsync(string name, CancellationToken cancellationToken = default) =>
        GetAsync($"api/v1/deployments/{name}", ContractsJson.Default.Deployment, cancellationToken);

    /// <summary>Creates a deployment.</summary>
    public Task<Answer<Deployment>> CreateDeploymentAsync(CreateDeploymentRequest body, CancellationToken cancellationToken = default) =>
        SendAsync(HttpMethod.Post, "api/v1/deployments", JsonSerializer.SerializeToUtf8Bytes(body, ContractsJson.Default.CreateDeploymentRequest), ContractsJson.Default.Deployment, cancellationToken);

    /// <summary>Changes a deployment.</summary>
    public Task<Answer<Deployment>> ChangeDeploymentAsync(string name, UpdateDeploymentRequest body, CancellationToken cancellationToken = default) =>
        SendAsync(HttpMethod.Patch, $"api/v1/deployments/{name}", JsonSerializer.SerializeToUtf8Bytes(body, ContractsJson.Default.UpdateDeploymentRequest), ContractsJson.Default.Deployment, cancellationToken);

    /// <summary>Deletes a deployment with its VMs.</summary>
    public async Task DeleteDeploymentAsync(string name, CancellationToken cancellationToken = default)
    {
        using var request = new HttpRequestMessage(HttpMethod.Delete, $"api/v1/deployments/{name}");
        await connection.SucceedAsync(request, ChangeTimeout, cancellationToken);
    }

    /// <summary>Enables or disables a plugin.</summary>
    public async Task SetPluginEnabledAsync(string name, bool enabled, CancellationToken cancellationToken = default)
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, $"api/v1/plugins/{name}/enabled");
        request.Content = Json(JsonSerializer.SerializeToUtf8Bytes(new PluginEnabled { Enabled = enabled }, ContractsJson.Default.PluginEnabled));
        await connection.SucceedAsync(request, ChangeTimeout, cancellationToken);
    }

    /// <summary>Facts about the daemon.</summary>
    public Task<Answer<SystemInfo>> GetInfoAsync(CancellationToken cancellationToken = default) =>
        GetAsync("api/v1/system/info", ContractsJson.Default.SystemInfo, cancellationToken);

    /// <summary>How busy the host is.</summary>
    public Task<Answer<SystemStatus>> GetStatusAsync(CancellationToken cancellationToken = default) =>
        GetAsync("api/v1/system/status", ContractsJson.Default.SystemStatus, cancellationToken);

    /// <summary>VMs and plugins in numbers.</summary>
    public Task<Answer<SystemSummary>> GetSummaryAsync(CancellationToken cancellationToken = default) =>
        GetAsync("api/v1/system/summary", ContractsJson.Default.SystemSummary, cancellationToken);

    /// <summary>Whether the daemon can do its work; fails with the reason when it cannot.</summary>
    public async Task RequireReadyAsync(CancellationToken cancellationToken = default)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, "readyz");
        await connection.SucceedAsync(request, ReadTimeout, cancellationToken);
    }

    private async Task<Answer<T>> GetAsync<T>(string path, System.Text.Json.Serialization.Metadata.JsonTypeInfo<T> type, CancellationToken cancellationToken)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, path);
        return connection.Read(await connection.SucceedAsync(request, ReadTimeout, cancellationToken), type);
    }

    private async Task<Answer<T>> SendAsync<T>(HttpMethod method, string path, byte[] json, System.Text.Json.Serialization.Metadata.JsonTypeInfo<T> type, CancellationToken cancellationToken)
    {
        using var request = new HttpRequestMessage(method, path) { Content = Json(json) };
        return connection.Read(await connection.SucceedAsync(request, ChangeTimeout, cancellationToken), type);
    }
}
