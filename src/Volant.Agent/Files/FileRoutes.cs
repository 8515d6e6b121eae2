using System.ComponentModel;
using System.Globalization;
using Microsoft.AspNetCore.Http;
using Volant.Agent.Http;
using Volant.Contracts;
using Volant.Contracts.Api;
using Volant.Linux.Files;

namespace Volant.Agent.Files;

/// <summary><c>/v1/agent/files</c> and <c>/v1/agent/files/stat</c>: the guest's files, see <see cref="FileStat"/>.</summary>
/// <param name="root">The root directory; every path and link ends at it.</param>
internal sealed class FileRoutes(string root = "/")
{
    private const int MaxMode = 0b111_111_111_111;
    private const int DirectoryMode = 0b111_101_101;

    /// <summary>The routes.</summary>
    public IEnumerable<AgentRoute> Routes =>
    [
        new("GET", "/v1/agent/files/stat", context => DoAsync(context, StatAsync), RouteTraits.HostOnly),
        new("GET", "/v1/agent/files", context => DoAsync(context, ReadAsync), RouteTraits.HostOnly),
        new("PUT", "/v1/agent/files", context => DoAsync(context, WriteAsync), RouteTraits.HostOnly),
        new("DELETE", "/v1/agent/files", context => DoAsync(context, DeleteAsync), RouteTraits.HostOnly),
    ];

    private async Task DoAsync(HttpContext context, Func<HttpContext, DirectoryHandle, string, Task> handle)
    {
        try
        {
            var path = context.Request.Query["path"] is [var one] ? one : null;
            if (GuestPath.FaultOf(path) is { } fault)
            {
                throw FileException.Invalid(fault);
            }

            using var directory = DirectoryHandle.Open(root);
            try
            {
                await handle(context, directory, path!);
            }
            catch (Win32Exception e)
            {
                throw FileException.Of(e);
            }
            catch (IOException e) when (e is not BadHttpRequestException && !context.RequestAborted.IsCancellationRequested)
            {
                throw FileException.Of(e);
            }
        }
        catch (FileException e)
        {
            await Problems.WriteAsync(context, e.Status, e.Code, e.Message);
        }
        catch (Exception e) when (e is OperationCanceledException or IOException)
        {
            // The caller left, or its body broke off: what was written beside the file is gone already.
            context.Abort();
        }
    }

    private static Task StatAsync(HttpContext context, DirectoryHandle root, string path)
    {
        var facts = root.Stat(path, PathLookup.InRoot);
        var name = path.TrimEnd('/');
        var stat = Describe(facts, name[(name.LastIndexOf('/') + 1)..] is { Length: > 0 } last ? last : "/", null);
        if (facts.Kind == FileKind.Directory)
        {
            using var directory = root.OpenDirectory(path, PathLookup.InRoot);
            var entries = List(directory);
            stat = stat with { Entries = entries, Truncated = entries.Count == FileTypes.MaxEntries && directory.List().Skip(FileTypes.MaxEntries).Any() ? true : null };
        }

        return Json.WriteAsync(context, 200, stat, ContractsJson.Readable.FileStat);
    }

    private static List<FileStat> List(DirectoryHandle directory)
    {
        var entries = new List<FileStat>();
        foreach (var name in directory.List().Take(FileTypes.MaxEntries))
        {
            try
            {
                var facts = directory.Stat(name);
                entries.Add(Describe(facts, DirectoryHandle.Show(name), facts.Kind == FileKind.SymbolicLink ? directory.ReadLink(name) : null));
            }
            catch (Win32Exception e) when (e.NativeErrorCode is Linux.Errno.NoEntry or Linux.Errno.Invalid)
            {
                // Removed or replaced since it was listed.
            }
        }

        entries.Sort(static (a, b) => string.CompareOrdinal(a.Name, b.Name));
        return entries;
    }

    private static FileStat Describe(FileFacts facts, string name, string? target) => new()
    {
        Name = name,
        Type = facts.Kind switch
        {
            FileKind.Directory => FileTypes.Directory,
            FileKind.SymbolicLink => FileTypes.Symlink,
            FileKind.CharacterDevice => FileTypes.CharacterDevice,
            FileKind.BlockDevice => FileTypes.BlockDevice,
            FileKind.Pipe => FileTypes.Pipe,
            FileKind.Socket => FileTypes.Socket,
            _ => FileTypes.File,
        },
        Size = facts.Size,
        Mode = string.Create(CultureInfo.InvariantCulture, $"{Convert.ToString(facts.Mode, 8).PadLeft(4, '0')}"),
        Uid = facts.Uid,
        Gid = facts.Gid,
        ModifiedAt = facts.ModifiedAt,
        Target = target,
    };

    private static async Task ReadAsync(HttpContext context, DirectoryHandle root, string path)
    {
        var kind = root.Stat(path, PathLookup.InRoot).Kind;
        if (kind == FileKind.Directory)
        {
            using var directory = root.OpenDirectory(path, PathLookup.InRoot);
            context.Response.ContentType = FileTypes.Tar;
            if (context.Request.Method != "HEAD")
            {
                await TarPacker.PackAsync(directory, context.Response.Body, context.RequestAborted);
            }

            return;
        }

        using var file = root.OpenFile(path, PathLookup.InRoot);
        var facts = DirectoryHandle.FactsOf(file, path);
        if (facts.Kind != FileKind.Regular)
        {
            throw FileException.Conflict($"'{path}' is a {FileWriter.Words(facts.Kind)}; only regular files and directories can be read.");
        }

        // Files of the kernel say that they are empty.
        context.Response.ContentLength = facts.Size > 0 ? facts.Size : null;
        context.Response.ContentType = "application/octet-stream";
        context.Response.Headers.LastModified = facts.ModifiedAt.ToString("R", CultureInfo.InvariantCulture);
        if (context.Request.Method != "HEAD")
        {
            await using Stream content = facts.Size > 0 ? new FixedLengthStream(file, facts.Size) : new FileStream(file, FileAccess.Read, bufferSize: 0);
            await FileWriter.CopyAsync(content, context.Response.Body, context.RequestAborted);
        }
    }

    private async Task WriteAsync(HttpContext context, DirectoryHandle root, string path)
    {
        var attributes = new FileAttributes(Mode(context), Id(context, "uid"), Id(context, "gid"));
        var parents = Switch(context, "parents");
        var type = context.Request.ContentType?.Split(';')[0].Trim();
        bool isNew;
        if (string.Equals(type, FileTypes.Tar, StringComparison.OrdinalIgnoreCase))
        {
            isNew = await UnpackAsync(context, root, path, attributes, parents);
        }
        else
        {
            using var place = GuestPath.Locate(root, path, follow: true, parents);
            isNew = await FileWriter.WriteAsync(place, context.Request.Body, attributes, context.RequestAborted);
        }

        context.Response.StatusCode = isNew ? StatusCodes.Status201Created : StatusCodes.Status204NoContent;
    }

    private static async Task<bool> UnpackAsync(HttpContext context, DirectoryHandle root, string path, FileAttributes attributes, bool parents)
    {
        var isRoot = path.Trim('/').Length == 0;
        var isNew = false;
        if (!isRoot)
        {
            using var place = GuestPath.Locate(root, path, follow: true, parents);
            isNew = place.Parent.CreateDirectory(place.Name, DirectoryMode);
        }

        using var directory = root.OpenDirectory(path, PathLookup.InRoot);
        if (isNew && (attributes.Uid ?? attributes.Gid) is not null)
        {
            directory.SetOwner(attributes.Uid ?? 0, attributes.Gid ?? 0);
        }

        if (attributes.Mode is { } mode)
        {
            directory.SetMode(mode);
        }

        await new TarUnpacker(directory, isNew, isRoot ? PathLookup.InRoot : PathLookup.Beneath, attributes).UnpackAsync(context.Request.Body, context.RequestAborted);
        return isNew;
    }

    private static Task DeleteAsync(HttpContext context, DirectoryHandle root, string path)
    {
        using var place = GuestPath.Locate(root, path, follow: false);
        if (place.Parent.Stat(place.Name).Kind != FileKind.Directory)
        {
            place.Parent.Remove(place.Name, isDirectory: false);
        }
        else if (Switch(context, "recursive"))
        {
            TreeRemoval.Remove(place.Parent, place.Name, context.RequestAborted);
        }
        else
        {
            place.Parent.Remove(place.Name, isDirectory: true);
        }

        context.Response.StatusCode = StatusCodes.Status204NoContent;
        return Task.CompletedTask;
    }

    private static int? Mode(HttpContext context)
    {
        if (context.Request.Query["mode"] is not [{ Length: > 0 } text])
        {
            return null;
        }

        if (text.Length > 5 || text.AsSpan().ContainsAnyExceptInRange('0', '7') || Convert.ToInt32(text, 8) is not (<= MaxMode and var mode))
        {
            throw FileException.Invalid("'mode' must be an octal number up to 7777, such as 0644.");
        }

        return mode;
    }

    private static uint? Id(HttpContext context, string name)
    {
        if (context.Request.Query[name] is not [{ Length: > 0 } text])
        {
            return null;
        }

        return uint.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var id) && id != uint.MaxValue
            ? id
            : throw FileException.Invalid($"'{name}' must be a number from 0 to 4294967294.");
    }

    private static bool Switch(HttpContext context, string name) => context.Request.Query[name] is [var text] && text switch
    {
        "1" or "true" => true,
        "" or "0" or "false" or null => false,
        _ => throw FileException.Invalid($"'{name}' must be 1, true, 0 or false."),
    };
}
