using System.ComponentModel;
using System.Diagnostics.CodeAnalysis;
using System.Text;
using Volant.Linux.IO;
using Volant.Linux.Kernel;
using Volant.Linux.Processes;

namespace Volant.Agent.Boot;

/// <summary>Leaves the initramfs for the root disk: the agent runs itself again there.</summary>
/// <remarks>
/// The program stays where it is, in the memory of the initramfs, and is shown inside the new root by a bind mount; all other files of the
/// initramfs are deleted, which frees their memory. What the second run must know lies in <see cref="HandOver"/>, readable by root alone.
/// </remarks>
internal static class RootSwitch
{
    /// <summary>Directory of what the first run leaves to the second.</summary>
    public const string HandOver = "/run/volant";

    /// <summary>The manifest, when it came in the initramfs.</summary>
    public const string ManifestFile = $"{HandOver}/manifest.json";

    private const string Program = $"{HandOver}/kestrel";
    private const string ProblemsFile = $"{HandOver}/problems";
    private const string StageVariable = "KESTREL_STAGE";
    private const string RootStage = "root";
    private const UnixFileMode Owner = UnixFileMode.UserRead | UnixFileMode.UserWrite;

    /// <summary>Whether this is the second run, on the root disk.</summary>
    public static bool IsDone => Environment.GetEnvironmentVariable(StageVariable) == RootStage;

    /// <summary>Switches and runs the agent again. Returns only by exception.</summary>
    /// <param name="root">Where the root disk is mounted.</param>
    /// <param name="manifestFile">File of the initramfs that the second run needs; null for none.</param>
    /// <param name="problems">What went wrong so far.</param>
    /// <exception cref="BootFailedException">It could not be done; the message says why.</exception>
    [DoesNotReturn]
    public static void Enter(string root, string? manifestFile, IReadOnlyList<string> problems)
    {
        if (Environment.ProcessId != 1 || !FileSystems.IsInMemory("/"))
        {
            throw new InvalidOperationException("Only PID 1 in an initramfs may leave it: all its files are deleted.");
        }

        try
        {
            var manifest = manifestFile is not null && File.Exists(manifestFile) ? File.ReadAllBytes(manifestFile) : null;
            var self = new FileInfo("/proc/self/exe").LinkTarget;
            foreach (var mount in new[] { "/dev", "/sys", "/proc" })
            {
                Mounts.Unmount(mount, UnmountOptions.Detach);
            }

            DeleteTree("/", LinkStatus.Find("/")!.Value.FileSystem, self);
            Mounts.SwitchRoot(root);
            IReadOnlyList<string> all = [.. problems, .. EarlyMounts.MountFirst()];
            if (EarlyMounts.MountRun() is [var unmounted, ..])
            {
                // What is left there may be secret, and must not come to lie on the disk.
                throw new IOException(unmounted);
            }

            Leave(manifest, all);
            File.Create(Program).Dispose();
            Mounts.Mount("/proc/self/exe", Program, null, MountOptions.Bind);
            ProcessImage.Replace(Program, ["kestrel"], [$"{StageVariable}={RootStage}"]);
        }
        catch (Exception e) when (e is Win32Exception or IOException or UnauthorizedAccessException)
        {
            throw new BootFailedException($"The root disk is mounted, but the guest could not change over to it: {e.Message.TrimEnd('.')}.", e);
        }
    }

    /// <summary>What went wrong in the first run. Can be taken once.</summary>
    public static IReadOnlyList<string> TakeProblems()
    {
        if (!File.Exists(ProblemsFile))
        {
            return [];
        }

        var problems = File.ReadAllLines(ProblemsFile);
        File.Delete(ProblemsFile);
        return problems;
    }

    private static void Leave(byte[]? manifest, IReadOnlyList<string> problems)
    {
        Directory.CreateDirectory(HandOver, Owner | UnixFileMode.UserExecute);
        if (manifest is not null)
        {
            Write(ManifestFile, manifest);
        }

        if (problems.Count > 0)
        {
            Write(ProblemsFile, Encoding.UTF8.GetBytes(string.Join('\n', problems.Select(problem => problem.ReplaceLineEndings(" ")))));
        }
    }

    private static void Write(string path, byte[] content)
    {
        using var file = new FileStream(path, new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.Write, UnixCreateMode = Owner });
        file.Write(content);
    }

    /// <summary>Deletes everything of one file system below a directory, but one file. What cannot be deleted only keeps its memory.</summary>
    internal static void DeleteTree(string directory, ulong fileSystem, string? keep)
    {
        foreach (var path in Directory.GetFileSystemEntries(directory))
        {
            try
            {
                if (path == keep || LinkStatus.Find(path) is not { } status || status.FileSystem != fileSystem)
                {
                    continue;
                }

                if (status.Kind == LinkKind.Directory)
                {
                    DeleteTree(path, fileSystem, keep);
                    Directory.Delete(path);
                }
                else
                {
                    File.Delete(path);
                }
            }
            catch (Exception e) when (e is Win32Exception or IOException or UnauthorizedAccessException)
            {
                // A directory that holds a mount point, or the agent.
            }
        }
    }
}
