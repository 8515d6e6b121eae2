using System.ComponentModel;
using System.Text;
using Microsoft.Win32.SafeHandles;
using Volant.Contracts.Api;
using Volant.Linux.Kernel;
using Volant.Linux.Processes;

namespace Volant.Daemon.CloudInit;

/// <summary>Writes a NoCloud seed: a FAT volume with the label CIDATA, by <c>cloud-localds</c> where it is installed and the documents are small enough for it, else by <see cref="FatImage"/>. Both hold the same files.</summary>
/// <param name="localds">Path of <c>cloud-localds</c>; null for none.</param>
/// <param name="clock">Limits how long it may take.</param>
internal sealed class SeedImage(string? localds, TimeProvider clock)
{
    /// <summary>Label of the volume, by which cloud-init finds it.</summary>
    public const string Label = "CIDATA";

    /// <summary>What <c>cloud-localds</c> can be given: its FAT volume has 128 KiB, tables included.</summary>
    private const int ToolBytes = 64 << 10;

    private const UnixFileMode OwnerOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite;
    private const string Path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

    private static readonly string[] Tools = ["cloud-localds", "mkfs.vfat", "mcopy", "mlabel"];
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(30);

    /// <summary>Looks for <c>cloud-localds</c>, and for the tools that it makes a FAT volume with.</summary>
    public static string? FindTool() => Tools.All(tool => Find(tool) is not null) ? Find(Tools[0]) : null;

    private static string? Find(string tool) => Path.Split(':').Select(directory => $"{directory}/{tool}").FirstOrDefault(File.Exists);

    /// <summary>Writes the seed, mode 0600, in place of an earlier one.</summary>
    /// <exception cref="VolantException"><c>disk_full</c>, or <c>unavailable</c> with the words of the tool.</exception>
    public async Task WriteAsync(string path, IReadOnlyList<(string Name, byte[] Content)> files)
    {
        File.Delete(path);
        if (localds is null || files.Sum(file => file.Content.Length) > ToolBytes)
        {
            using var file = Create(path);
            await RandomAccess.WriteAsync(file, FatImage.Build(Label, files), 0);
            RandomAccess.SetLength(file, FatImage.Bytes);
        }
        else
        {
            await RunAsync(path, files);
        }
    }

    private async Task RunAsync(string path, IReadOnlyList<(string Name, byte[] Content)> files)
    {
        // Beside the seed, so that what is secret stays in a directory that only the owner reads.
        var work = $"{path}.work";
        try
        {
            if (Directory.Exists(work))
            {
                // Of a daemon that was killed meanwhile.
                Directory.Delete(work, recursive: true);
            }

            Directory.CreateDirectory(work, OwnerOnly | UnixFileMode.UserExecute);
            foreach (var (name, content) in files)
            {
                await File.WriteAllBytesAsync($"{work}/{name}", content);
            }

            Create(path).Dispose();
            List<string> arguments = [localds!, "--filesystem", "vfat", path, $"{work}/user-data", $"{work}/meta-data"];
            if (files.Any(file => file.Name == "network-config"))
            {
                arguments.InsertRange(1, ["--network-config", $"{work}/network-config"]);
            }

            await RunToolAsync(work, arguments);

            // The tool writes its label in small letters, which is another name to whoever looks for this one.
            await RunToolAsync(work, [Find("mlabel")!, "-i", path, $"::{Label}"]);
            File.SetUnixFileMode(path, OwnerOnly);
        }
        finally
        {
            Directory.Delete(work, recursive: true);
        }
    }

    private async Task RunToolAsync(string work, List<string> arguments)
    {
        using var output = File.OpenHandle($"{work}/output", FileMode.Create, FileAccess.ReadWrite);
        using var limit = new CancellationTokenSource(Limit, clock);
        int pid;
        try
        {
            pid = ProcessSpawner.Spawn(new SpawnRequest { Arguments = arguments, Environment = [$"PATH={Path}", $"TMPDIR={work}"], StandardOutput = output, StandardError = output });
        }
        catch (Win32Exception e)
        {
            throw new VolantException(ErrorCodes.Unavailable, $"'{arguments[0]}' could not be started to write the cloud-init seed: {e.Message}. Install it again, or remove it: volantd can write the seed itself.", e);
        }

        if (await ProcessExitWatcher.WaitForChildAsync(pid, Signals.Kill, limit.Token) is not { ExitCode: 0 })
        {
            throw new VolantException(ErrorCodes.Unavailable, $"'{arguments[0]}' could not write the cloud-init seed: {Read(output)}");
        }
    }

    private static SafeFileHandle Create(string path)
    {
        var file = File.OpenHandle(path, FileMode.CreateNew, FileAccess.Write);
        File.SetUnixFileMode(file, OwnerOnly);
        return file;
    }

    private static string Read(SafeFileHandle output)
    {
        var buffer = new byte[1000];
        return Encoding.UTF8.GetString(buffer, 0, RandomAccess.Read(output, buffer, 0)).Trim();
    }
}
