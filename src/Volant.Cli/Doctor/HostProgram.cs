using System.ComponentModel;
using System.Text;
using Microsoft.Win32.SafeHandles;
using Volant.Linux.Kernel;
using Volant.Linux.Processes;

namespace Volant.Cli.Doctor;

/// <summary>Runs small programs of the host and returns what they say.</summary>
internal static class HostProgram
{
    private const int MaxOutputBytes = 64 * 1024;
    private const string SearchPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

    /// <summary>Runs one to its end.</summary>
    /// <param name="program">Absolute path.</param>
    /// <param name="arguments">Its arguments.</param>
    /// <param name="environment">Its environment as <c>NAME=value</c>, besides <c>PATH</c> and a locale without translations.</param>
    /// <param name="cancellationToken">Ends the program; its end is waited for.</param>
    /// <returns>Its exit code, 128 and the signal when one ended it; and both of its outputs together, the first 64 KiB.</returns>
    /// <exception cref="CliException">It could not be started.</exception>
    public static async Task<(int ExitCode, string Output)> RunAsync(string program, IReadOnlyList<string> arguments, IReadOnlyList<string> environment, CancellationToken cancellationToken)
    {
        var (output, end) = Pipes.Create();
        int pid;
        try
        {
            pid = ProcessSpawner.Spawn(new SpawnRequest
            {
                Arguments = [program, .. arguments],
                Environment = [SearchPath, "LC_ALL=C", .. environment],
                StandardOutput = end,
                StandardError = end,
            });
        }
        catch (Win32Exception e)
        {
            output.Dispose();
            throw CliException.Failed($"Cannot start '{program}': {e.Message}", e);
        }
        finally
        {
            end.Dispose();
        }

        var text = Task.Run(() => Read(output), CancellationToken.None);
        var exit = await ProcessExitWatcher.WaitForChildAsync(pid, Signals.Kill, cancellationToken);
        cancellationToken.ThrowIfCancellationRequested();
        return (exit.ExitCode ?? 128 + (exit.Signal ?? 0), (await text).Trim());
    }

    /// <summary>Reads to the end; what is more than the limit is dropped.</summary>
    private static string Read(SafeFileHandle pipe)
    {
        using var stream = new FileStream(pipe, FileAccess.Read, bufferSize: 0);
        using var all = new MemoryStream();
        var buffer = new byte[4096];
        for (int read; (read = stream.Read(buffer)) > 0;)
        {
            all.Write(buffer, 0, (int)Math.Min(read, MaxOutputBytes - all.Length));
        }

        return Encoding.UTF8.GetString(all.GetBuffer(), 0, (int)all.Length);
    }
}
