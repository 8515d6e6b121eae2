using System.ComponentModel;
using System.Text;
using Microsoft.Win32.SafeHandles;
using Volant.Linux.Kernel;
using Volant.Linux.Processes;

namespace Volant.Cli.Images;

/// <summary>The installed <c>fledge</c>, which knows images: run as a program, so that volar need not know them.</summary>
internal sealed class FledgeProgram(CliHost host)
{
    /// <summary>Variable that names another one.</summary>
    public const string Variable = "VOLANT_FLEDGE";

    private const int MaxOutputBytes = 4 * 1024 * 1024;
    private const int MaxErrorBytes = 16 * 1024;

    private static readonly string[] Directories = ["/usr/local/bin", "/usr/bin"];
    private static readonly string[] Passed = ["HOME", "PATH", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "CONTAINERS_REGISTRIES_CONF", "FLEDGE_AGENT", "http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"];

    /// <summary>Runs it and returns what it printed. On a terminal it shows its own progress.</summary>
    /// <param name="arguments">Its arguments.</param>
    /// <param name="cancellationToken">Interrupts it, and waits until it has cleaned up.</param>
    /// <exception cref="CliException">It is not installed, or failed: in its own words.</exception>
    public async Task<string> RunAsync(IReadOnlyList<string> arguments, CancellationToken cancellationToken)
    {
        var program = Find();
        var (output, outputEnd) = Pipes.Create();
        var (error, errorEnd) = Pipes.Create();
        using var terminal = new SafeFileHandle(2, ownsHandle: false);
        int pid;
        try
        {
            pid = ProcessSpawner.Spawn(new SpawnRequest
            {
                Arguments = [program, .. arguments],
                Environment = [.. Passed.Select(name => (name, Value: host.Environment(name))).Where(pair => pair.Value is not null).Select(pair => $"{pair.name}={pair.Value}")],
                WorkingDirectory = host.WorkingDirectory,
                StandardOutput = outputEnd,
                StandardError = host.ErrorIsTerminal ? terminal : errorEnd,
            });
        }
        catch (Win32Exception e)
        {
            output.Dispose();
            error.Dispose();
            throw CliException.Failed($"Cannot start '{program}': {e.Message}", e);
        }
        finally
        {
            outputEnd.Dispose();
            errorEnd.Dispose();
        }

        var text = ReadAsync(output, MaxOutputBytes);
        var talk = ReadAsync(error, MaxErrorBytes);
        var exit = await ProcessExitWatcher.WaitForChildAsync(pid, Signals.Interrupt, cancellationToken);
        await Task.WhenAll(text, talk);
        cancellationToken.ThrowIfCancellationRequested();
        if (exit.ExitCode != 0)
        {
            var said = (await talk).Trim();
            throw CliException.Failed(said.Length > 0 ? said.ReplaceLineEndings(" ") : $"'{program}' failed ({(exit.Signal is { } signal ? $"signal {signal}" : $"exit code {exit.ExitCode}")}).");
        }

        return await text;
    }

    private string Find()
    {
        if (host.Environment(Variable) is { Length: > 0 } named)
        {
            return File.Exists(named) ? Path.GetFullPath(named, host.WorkingDirectory) : throw CliException.Failed($"{Variable} names '{named}', which does not exist.");
        }

        var path = (host.Environment("PATH") ?? string.Empty).Split(':').Where(Path.IsPathRooted);
        return path.Prepend(AppContext.BaseDirectory).Concat(Directories).Select(directory => Path.Combine(directory, "fledge")).FirstOrDefault(File.Exists)
            ?? throw CliException.Failed($"Images are built by the program 'fledge', which is neither beside volar nor in PATH; install it, or set {Variable}.");
    }

    /// <summary>Reads to the end; what is more than the limit is dropped.</summary>
    private static Task<string> ReadAsync(SafeFileHandle pipe, int limit) => Task.Run(() =>
    {
        using var stream = new FileStream(pipe, FileAccess.Read, bufferSize: 0);
        using var all = new MemoryStream();
        var buffer = new byte[4096];
        for (int read; (read = stream.Read(buffer)) > 0;)
        {
            all.Write(buffer, 0, (int)Math.Min(read, limit - all.Length));
        }

        return Encoding.UTF8.GetString(all.GetBuffer(), 0, (int)all.Length);
    });
}
