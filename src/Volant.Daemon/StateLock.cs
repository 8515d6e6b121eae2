namespace Volant.Daemon;

/// <summary>Keeps a second daemon off the same state directory. The kernel frees it when the daemon ends, however it ends.</summary>
internal sealed class StateLock : IDisposable
{
    private readonly FileStream _file;

    private StateLock(FileStream file) => _file = file;

    /// <summary>Takes the lock.</summary>
    /// <exception cref="ConfigurationException">The directory cannot be written, or another daemon holds the lock.</exception>
    public static StateLock Take(string stateDirectory)
    {
        var path = Path.Combine(stateDirectory, "volantd.lock");
        try
        {
            Directory.CreateDirectory(stateDirectory);
            return new StateLock(new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None));
        }
        catch (IOException e) when (e is not DirectoryNotFoundException and not PathTooLongException && File.Exists(path))
        {
            throw new ConfigurationException($"VOLANT_DB_PATH: another volantd uses '{stateDirectory}' (lock '{path}'); stop it, or use another directory.");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new ConfigurationException($"VOLANT_DB_PATH: '{stateDirectory}' cannot be written ({e.Message}); expected a directory of this user.");
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _file.Dispose();
}
