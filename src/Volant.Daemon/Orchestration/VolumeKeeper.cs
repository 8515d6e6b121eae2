using Volant.Contracts;
using Volant.Contracts.Api;
using Volant.Daemon.Artifacts;
using Volant.Daemon.Store;

namespace Volant.Daemon.Orchestration;

/// <summary>Makes, enlarges and removes the files of volumes; the store says who may have one.</summary>
/// <remarks>A file is recorded before it is made and forgotten after it is gone. It is raw and sparse, and grows with what guests write.</remarks>
internal sealed class VolumeKeeper(VolantStore store, DaemonOptions options)
{
    private const long Mebibyte = 1 << 20;
    private const UnixFileMode OwnerOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite;

    // The hypervisors of VMs that only read it are other users; the directory is closed to everybody else.
    private const UnixFileMode Shared = OwnerOnly | UnixFileMode.GroupRead | UnixFileMode.OtherRead;

    /// <summary>Creates a volume.</summary>
    /// <exception cref="VolantException"><c>invalid_request</c>, <c>volume_exists</c> or <c>disk_full</c>; nothing is left.</exception>
    public async Task<Volume> CreateAsync(CreateVolumeRequest request, CancellationToken cancellationToken)
    {
        Reject(VolumeRules.Validate(request));
        var uid = Guid.CreateVersion7();
        await store.InsertVolumeAsync(request.Name!, uid, request.SizeMb!.Value, cancellationToken);
        try
        {
            Directory.CreateDirectory(options.VolumeDirectory, OwnerOnly | UnixFileMode.UserExecute);
            using (var file = File.OpenHandle(PathOf(uid), FileMode.CreateNew, FileAccess.Write))
            {
                File.SetUnixFileMode(file, Shared);
                RandomAccess.SetLength(file, request.SizeMb.Value * Mebibyte);
                RandomAccess.FlushToDisk(file);
            }

            return await store.SetVolumeReadyAsync(uid, CancellationToken.None);
        }
        catch (Exception e)
        {
            await RemoveAsync(uid);
            throw Explain(e);
        }
    }

    /// <summary>Enlarges a volume that no VM that runs holds.</summary>
    /// <exception cref="VolantException"><c>invalid_request</c>, <c>volume_not_found</c>, <c>volume_in_use</c>, <c>unsupported</c> or <c>disk_missing</c>.</exception>
    public async Task<Volume> ResizeAsync(string name, ResizeVolumeRequest request, CancellationToken cancellationToken)
    {
        Reject(VolumeRules.Validate(request));
        _ = Open(store.GetVolume(name));
        var volume = await store.ResizeVolumeAsync(name, request.SizeMb!.Value, cancellationToken);
        _ = Open(volume);
        return volume;
    }

    /// <summary>Deletes a volume that nobody names, with all that is on it.</summary>
    /// <exception cref="VolantException"><c>volume_not_found</c> or <c>volume_in_use</c>.</exception>
    public async Task DeleteAsync(string name, CancellationToken cancellationToken) => await RemoveAsync(await store.BeginDeleteVolumeAsync(name, cancellationToken));

    /// <summary>Path of the file of a volume, which has the size that is recorded.</summary>
    /// <exception cref="VolantException"><c>disk_missing</c>: it is gone; <c>disk_full</c>.</exception>
    public string Open(Volume volume)
    {
        var path = PathOf(volume.Uid);
        try
        {
            using var file = File.OpenHandle(path, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite);

            // Shorter when a daemon ended between the two steps of an enlargement.
            if (RandomAccess.GetLength(file) < volume.SizeMb * Mebibyte)
            {
                RandomAccess.SetLength(file, volume.SizeMb * Mebibyte);
            }

            return path;
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new VolantException(ErrorCodes.DiskMissing, $"The file of volume '{volume.Name}' is gone from '{path}', and what guests wrote with it; put it back from a copy, or delete the volume.", e);
        }
        catch (IOException e)
        {
            throw Explain(e);
        }
    }

    /// <summary>Finishes what an earlier daemon did not.</summary>
    public async Task RecoverAsync()
    {
        foreach (var uid in store.ListUnfinishedVolumes())
        {
            await RemoveAsync(uid);
        }
    }

    private async Task RemoveAsync(Guid uid)
    {
        if (Directory.Exists(options.VolumeDirectory))
        {
            File.Delete(PathOf(uid));
        }

        await store.DeleteVolumeAsync(uid, CancellationToken.None);
    }

    private string PathOf(Guid uid) => Path.Combine(options.VolumeDirectory, $"{uid:D}.raw");

    private static Exception Explain(Exception failure) => failure is IOException io && ArtifactCache.IsDiskFull(io)
        ? new VolantException(ErrorCodes.DiskFull, "The disk that holds the volumes is full; free space and try again.", failure)
        : failure;

    private static void Reject(IReadOnlyList<FieldError> faults)
    {
        if (faults.Count > 0)
        {
            throw new VolantException(ErrorCodes.InvalidRequest, $"The request is not valid: {string.Join("; ", faults.Select(fault => $"{fault.Path} {fault.Message}"))}.") { Fields = faults };
        }
    }
}
