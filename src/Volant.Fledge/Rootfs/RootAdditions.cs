using Volant.Fledge.Configuration;
using Volant.Fledge.Cpio;
using Volant.Fledge.Initramfs;
using Volant.Fledge.Tar;
using Volant.Linux.IO;

namespace Volant.Fledge.Rootfs;

/// <summary>Puts the agent and what the build file maps on top of an image. All of it belongs to root and has no time.</summary>
internal sealed class RootAdditions(RootTree tree, ContentStore store, CancellationToken cancellationToken)
{
    /// <summary>Where the agent lies in a root disk.</summary>
    public const string AgentPath = "/bin/kestrel";

    private const int Layer = int.MaxValue;

    /// <summary>Puts the agent into its place.</summary>
    public void AddAgent(string file) => AddFile(AgentPath, file, Permissions.Octal0755, new FileInfo(File.ResolveLinkTarget(file, returnFinalTarget: true)?.FullName ?? file).Length);

    /// <summary>Puts what the mappings found into its place.</summary>
    /// <exception cref="FledgeException">A directory of the image is where a file must be, or the other way round.</exception>
    public void Add(IEnumerable<FoundEntry> found)
    {
        foreach (var entry in found)
        {
            cancellationToken.ThrowIfCancellationRequested();
            switch (entry.Status.Kind)
            {
                case LinkKind.Directory:
                    AddDirectory(entry);
                    break;
                case LinkKind.SymbolicLink:
                    Put(entry.GuestPath, new RootNode { Kind = TarKind.SymbolicLink, Permissions = Permissions.Access, LinkTarget = ByteText.Encode(entry.LinkTarget!) }, entry.Origin);
                    break;
                default:
                    AddFile(entry.GuestPath, entry.HostPath, GuestPaths.FileMode(entry.GuestPath, entry.Status.Mode), entry.Status.SizeBytes, entry.Origin);
                    break;
            }
        }
    }

    /// <summary>Puts the plan of an initramfs on top; what is only spare gives way to the image.</summary>
    public void Add(GuestTree plan)
    {
        foreach (var (entry, isSpare) in plan.EntriesAboveImage)
        {
            cancellationToken.ThrowIfCancellationRequested();
            var path = "/" + entry.Path;
            var existing = tree.Find(ByteText.Encode(path));
            var isDirectory = (entry.Mode & CpioFormat.TypeMask) == CpioFormat.TypeDirectory;
            if (existing is not null && (isSpare || (isDirectory && existing.IsDirectory)))
            {
                continue;
            }

            var permissions = entry.Mode & ~CpioFormat.TypeMask;
            if (entry.HostFile is { } file)
            {
                AddFile(path, file, permissions, entry.SizeBytes);
            }
            else if (isDirectory)
            {
                Put(path, RootNode.NewDirectory(permissions), path);
            }
            else
            {
                var isLink = (entry.Mode & CpioFormat.TypeMask) == CpioFormat.TypeSymlink;
                Put(path, new RootNode
                {
                    Kind = isLink ? TarKind.SymbolicLink : TarKind.File,
                    Permissions = permissions,
                    LinkTarget = isLink ? ByteText.Of(entry.Data.Span) : null,
                    Content = isLink ? default : store.Append(entry.Data.Span),
                }, path);
            }
        }
    }

    private void AddFile(string path, string file, int permissions, long size, string? origin = null)
    {
        using var content = new FileStream(file, FileMode.Open, FileAccess.Read, FileShare.Read, bufferSize: 0);
        if (content.Length != size)
        {
            throw new FledgeException($"'{file}' changed while it was read (it had {size} bytes before); build again when nothing writes to it.");
        }

        Put(path, new RootNode { Kind = TarKind.File, Permissions = permissions, Content = store.Append(content.Read, size, cancellationToken) }, origin ?? $"'{file}'");
    }

    /// <summary>A directory that the image has stays as it is there.</summary>
    private void AddDirectory(FoundEntry entry)
    {
        var path = ByteText.Encode(entry.GuestPath);
        if (tree.Find(path) is { } existing)
        {
            _ = existing.IsDirectory ? existing : throw new FledgeException($"'{entry.GuestPath}' is a file in the image, so the directory {entry.Origin} cannot be mapped there; change the guest path.");
            return;
        }

        Put(entry.GuestPath, RootNode.NewDirectory(entry.Status.Mode & Permissions.Octal1777), entry.Origin);
    }

    private void Put(string path, RootNode node, string origin)
    {
        var parts = RootTree.Split(ByteText.Encode(path.TrimStart('/')));
        var parent = tree.Parent(parts, Layer)!;
        if (parent.Children!.TryGetValue(parts[^1], out var old) && old.Node.IsDirectory)
        {
            throw new FledgeException($"'{path}' is a directory in the image, so {origin} cannot be mapped there; change the guest path.");
        }

        tree.Put(parent, parts[^1], node, Layer);
    }
}
