using System.Text.Json;
using Volant.Contracts;
using Volant.Contracts.Api;

namespace Volant.Cli.Api;

/// <summary>Volumes.</summary>
internal sealed partial class VolantClient
{
    /// <summary>Every volume, by name.</summary>
    public Task<Answer<IReadOnlyList<Volume>>> ListVolumesAsync(CancellationToken cancellationToken = default) =>
        GetAsync("api/v1/volumes", ContractsJson.Default.IReadOnlyListVolume, cancellationToken);

    /// <summary>One volume.</summary>
    public Task<Answer<Volume>> GetVolumeAsync(string name, CancellationToken cancellationToken = default) =>
        GetAsync($"api/v1/volumes/{name}", ContractsJson.Default.Volume, cancellationToken);

    /// <summary>Creates a volume.</summary>
    public Task<Answer<Volume>> CreateVolumeAsync(CreateVolumeRequest body, CancellationToken cancellationToken = default) =>
        SendAsync(HttpMethod.Post, "api/v1/volumes", JsonSerializer.SerializeToUtf8Bytes(body, ContractsJson.Default.CreateVolumeRequest), ContractsJson.Default.Volume, cancellationToken);

    /// <summary>Enlarges a volume.</summary>
    public Task<Answer<Volume>> ResizeVolumeAsync(string name, ResizeVolumeRequest body, CancellationToken cancellationToken = default) =>
        SendAsync(HttpMethod.Patch, $"api/v1/volumes/{name}", JsonSerializer.SerializeToUtf8Bytes(body, ContractsJson.Default.ResizeVolumeRequest), ContractsJson.Default.Volume, cancellationToken);

    /// <summary>Deletes a volume with all that is on it.</summary>
    public async Task DeleteVolumeAsync(string name, CancellationToken cancellationToken = default)
    {
        using var request = new HttpRequestMessage(HttpMethod.Delete, $"api/v1/volumes/{name}");
        await connection.SucceedAsync(request, ChangeTimeout, cancellationToken);
    }
}
