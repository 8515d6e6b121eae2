using System.Text;
using Volant.Fledge.Configuration;
using Volant.Fledge.Cpio;
using Volant.Linux.IO;

namespace Volant.Fledge.Initramfs;

/// <summary>Decides what lies where in the guest: mappings first, then PID 1, busybox and the base directories around them.</summary>
/// <remarks>Mappings win over busybox, its links, the base directories and the base files; for <c>/init</c> there is no winner but an error.</remarks>
internal static class InitramfsPlan
{
    private const string InitPath = "/init";
    private const string AgentPath = "/bin/kestrel";
    private const string BusyboxPath = "/bin/busybox";
    private const string Base = "fledge's base files";

    private static readonly (int Permissions, string[] Paths)[] Directories =
    [
        (Permissions.Octal0755,
            ["/bin", "/dev", "/etc", "/home", "/lib", "/mnt", "/opt", "/run", "/sbin", "/usr", "/usr/bin", "/usr/lib",
             "/usr/local", "/usr/local/bin", "/usr/sbin", "/var", "/var/lib", "/var/log"]),
        (Permissions.Octal0555,
            ["/proc", "/sys"]),
        (Permissions.Octal0700,
            ["/root"]),
        (Permissions.Octal1777,
            ["/tmp", "/var/tmp"]),
    ];

    private static readonly (string Path, string Content)[] Files =
    [
        ("/etc/group", "root:x:0:\nnogroup:x:65534:\n"),
        ("/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n"),
        ("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n"),
    ];

    /// <summary>Plans the tree.</summary>
    /// <param name="config">What the build file wants.</param>
    /// <param name="mapped">What its mappings found.</param>
    /// <param name="agent">The agent's file, checked; required by <see cref="InitMode.Agent"/>.</param>
    /// <param name="busybox">busybox's file, checked; null for none.</param>
    /// <exception cref="FledgeException">Two things claim one path, or there is no usable PID 1.</exception>
    public static GuestTree Create(BuildConfig config, IReadOnlyList<FoundEntry> mapped, string? agent, string? busybox)
    {
        var tree = new GuestTree();

        // Links first: what another mapping puts below /bin has to go where a mapped /bin leads.
        foreach (var entry in mapped.OrderByDescending(entry => entry.Status.Kind == LinkKind.SymbolicLink))
        {
            Add(tree, entry);
        }

        if (busybox is not null && File.ReadAllBytes(busybox) is var program &&
            tree.AddFileIfFree(BusyboxPath, Permissions.Octal0755, busybox, program.LongLength, $"busybox '{busybox}'"))
        {
            foreach (var link in BusyboxApplets.Links(program))
            {
                tree.AddSymlinkIfFree(link, BusyboxPath, "a busybox command");
            }
        }

        AddInit(tree, config, agent);
        foreach (var (permissions, paths) in Directories)
        {
            foreach (var path in paths)
            {
                tree.AddDirectoryIfFree(path, permissions, Base);
            }
        }

        foreach (var (path, content) in Files)
        {
            tree.AddFileIfFree(path, Permissions.Octal0644, Encoding.ASCII.GetBytes(content), Base);
        }

        return tree;
    }

    private static void Add(GuestTree tree, FoundEntry entry)
    {
        switch (entry.Status.Kind)
        {
            case LinkKind.Directory:
                tree.AddDirectory(entry.GuestPath, entry.Status.Mode & Permissions.Octal1777, entry.Origin);
                break;
            case LinkKind.SymbolicLink:
                tree.AddSymlink(entry.GuestPath, entry.LinkTarget!, entry.Origin);
                break;
            default:
                tree.AddFile(entry.GuestPath, GuestPaths.FileMode(entry.GuestPath, entry.Status.Mode), entry.HostPath, entry.Status.SizeBytes, entry.Origin);
                break;
        }
    }

    private static void AddInit(GuestTree tree, BuildConfig config, string? agent)
    {
        switch (config.Init.Mode)
        {
            case InitMode.Agent:
                AddProgram(tree, agent!, $"the agent '{agent}', which is PID 1 unless 'init' says otherwise");
                tree.AddSymlink(AgentPath, InitPath, "the agent's second name");
                break;
            case InitMode.Custom when config.Init.Path is ['/', ..] && tree.Find(config.Init.Path) is not null:
                RequireExecutable(tree.Find(config.Init.Path), config.Init.Path);
                if (config.Init.Path != InitPath)
                {
                    tree.AddSymlink(InitPath, config.Init.Path, "'init.path'");
                }

                break;
            case InitMode.Custom:
                var file = Path.GetFullPath(config.Init.Path!, config.Directory);
                if (!File.Exists(file))
                {
                    throw new FledgeException($"'init.path' is '{config.Init.Path}', which is neither mapped into the guest nor a file on this host ('{file}').");
                }

                AddProgram(tree, file, "'init.path'");
                break;
            default:
                RequireExecutable(tree.Find(InitPath), InitPath);
                break;
        }
    }

    private static void AddProgram(GuestTree tree, string file, string origin)
    {
        // The length of a symbolic link is that of its text.
        var program = new FileInfo(File.ResolveLinkTarget(file, returnFinalTarget: true)?.FullName ?? file);
        tree.AddFile(InitPath, Permissions.Octal0755, program.FullName, program.Length, origin);
    }

    private static void RequireExecutable(CpioEntry? entry, string path)
    {
        if (entry is null)
        {
            throw new FledgeException("'init.none' is true, but no mapping provides '/init', so the guest would have no PID 1; map a program to '/init'.");
        }

        if ((entry.Mode & CpioFormat.TypeMask) != CpioFormat.TypeFile || (entry.Mode & Permissions.AnyExecute) == 0)
        {
            throw new FledgeException($"'{path}' is to be PID 1, but is not an executable file; make it one on the host: chmod +x '{entry.HostFile ?? path}'.");
        }
    }
}
