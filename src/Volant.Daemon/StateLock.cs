namespace Volant.Daemon;

/// <summary>Keeps a second daemon off the same state directory. The kernel frees it when the daemon ends, however it ends.</summary>
internal sealed class StateLock : IDisposable
{
    /// <summary>How long it is tried: a program that a killed daemon was just starting has the lock until it runs.</summary>
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(2);

    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(20);

    private readonly FileStream _file;

    private StateLock(FileStream file) => _file = file;

    /// <summary>Takes the lock; waits for two seconds at most.</summary>
    /// <exception cref="ConfigurationException">The directory cannot be written, or another daemon holds the lock.</exception>
    public static async Task<StateLock> TakeAsync(string stateDirectory, TimeProvider clock)
    {
        var path = Path.Combine(stateDirectory, "volantd.lock");
        var started = clock.GetTimestamp();
        try
        {
            Directory.CreateDirectory(stateDirectory);
            while (true)
            {
                try
                {
                    return new StateLock(new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None));
                }
                catch (IOException e) when (IsHeld(e, path) && clock.GetElapsedTime(started) < Patience)
                {
                    await Task.Delay(Pause, clock);
                }
            }
        }
        catch (IOException e) when (IsHeld(e, path))
        {
            throw new ConfigurationException($"VOLANT_DB_PATH: another volantd uses '{stateDirectory}' (lock '{path}'); stop it, or use another directory.");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new ConfigurationException($"VOLANT_DB_PATH: '{stateDirectory}' cannot be written ({e.Message}); expected a directory of this user.");
        }
    }

    private static bool IsHeld(IOException e, string path) => e is not DirectoryNotFoundException and not PathTooLongException && File.Exists(path);

    /// <inheritdoc/>
    public void Dispose() => _file.Dispose();
}
