using System.CommandLine;
using System.Formats.Tar;
using System.Globalization;
using System.Net.Http.Headers;
using Volant.Cli.Api;
using Volant.Cli.Guests;
using Volant.Cli.Output;
using Volant.Contracts;
using Volant.Contracts.Api;
using Volant.Linux.IO;

namespace Volant.Cli.Commands;

/// <summary><c>volar vms cp</c>: files and directories into a guest and out of it.</summary>
internal static class VmsCpCommand
{
    private const string Stdio = "-";

    /// <summary>Makes the command.</summary>
    public static Command Create(CommandScope scope)
    {
        var source = new Argument<string>("SOURCE") { Description = "VM:PATH, a path of this machine, or - for a tar on standard input" };
        var target = new Argument<string>("TARGET") { Description = "VM:PATH, a path of this machine, or - for a tar on standard output" };
        return scope.Define(
            "cp",
            "Copy files between this machine and a VM. Directories travel as a whole; a directory that exists gets the copy inside.",
            [source, target],
            ["volar vms cp app.conf web:/etc/app.conf", "volar vms cp web:/var/log ./logs", "volar vms cp web:/srv - | tar t"],
            async (parsed, run, cancellationToken) =>
            {
                var (from, to) = (Place.Parse(parsed.GetRequiredValue(source)), Place.Parse(parsed.GetRequiredValue(target)));
                var copy = new Copy(run);
                await ((from, to) switch
                {
                    ({ Vm: { } vm }, { Vm: null }) => copy.OutAsync(vm, from.Path, to.Path, cancellationToken),
                    ({ Vm: null }, { Vm: { } vm }) => copy.InAsync(from.Path, vm, to.Path, cancellationToken),
                    ({ Vm: null }, _) => throw CliException.Usage("Neither side is in a VM; write one as VM:PATH, as in web:/etc/hosts."),
                    _ => throw CliException.Usage($"Both sides are in VMs; go by way of a pipe: volar vms cp {from.Vm}:{from.Path} - | volar vms cp - {to.Vm}:{to.Path}"),
                });
                return ExitCodes.Ok;
            });
    }

    /// <summary>One side of a copy.</summary>
    /// <param name="Vm">VM; null for this machine.</param>
    /// <param name="Path">Absolute in a guest; here as it was written.</param>
    private readonly record struct Place(string? Vm, string Path)
    {
        public static Place Parse(string text)
        {
            var at = text.IndexOf(':', StringComparison.Ordinal);
            if (at < 0 || text.AsSpan(0, at).Contains('/'))
            {
                return text.Length > 0 ? new Place(null, text) : throw CliException.Usage("A path is empty; name a file.");
            }

            var (vm, path) = (text[..at], text[(at + 1)..]);
            if (!Names.IsDnsLabel(vm))
            {
                throw CliException.Usage($"'{vm}' is no VM name; a file of this machine whose name holds a colon is written as ./{text}.");
            }

            return path.StartsWith('/') ? new Place(vm, path) : throw CliException.Usage($"'{path}' is no absolute path; write {vm}:/{path}.");
        }
    }

    private sealed class Copy(CommandRun run)
    {
        private static readonly UnixFileMode DirectoryMode = (UnixFileMode)0x1ed; // 0755

        /// <summary>From a guest to this machine.</summary>
        public async Task OutAsync(string vm, string path, string target, CancellationToken cancellationToken)
        {
            using var response = await run.Client.OpenFileAsync(vm, path, cancellationToken);
            await using var body = await response.Content.ReadAsStreamAsync(cancellationToken);
            var isDirectory = response.Content.Headers.ContentType?.MediaType == FileTypes.Tar;
            var name = path.TrimEnd('/') is { Length: > 0 } trimmed ? Path.GetFileName(trimmed) : string.Empty;
            try
            {
                if (target == Stdio)
                {
                    await WriteTarAsync(body, isDirectory ? null : name, response.Content.Headers.ContentLength, cancellationToken);
                    return;
                }

                var local = Path.GetFullPath(target, run.Host.WorkingDirectory);
                if (Directory.Exists(local) && name.Length > 0)
                {
                    local = Path.Combine(local, name);
                }
                else if (!isDirectory && target.EndsWith('/'))
                {
                    throw CliException.Failed($"'{local}' is no directory; make it first, or leave out the slash.");
                }

                if (isDirectory)
                {
                    var directory = Directory.CreateDirectory(Path.TrimEndingDirectorySeparator(local), DirectoryMode).FullName;
                    await new TarUnpacker(directory, Skip, bytes => Draw(name, bytes)).UnpackAsync(body, cancellationToken);
                }
                else
                {
                    var mode = (await run.Client.FindFileAsync(vm, path, cancellationToken))?.Mode;
                    await WriteFileAsync(body, local, name, mode, cancellationToken);
                }
            }
            catch (Exception e) when (e is HttpRequestException or HttpIOException)
            {
                throw run.Client.BrokenStream(e);
            }
            catch (Exception e) when (target != Stdio && e is IOException or UnauthorizedAccessException)
            {
                throw CliException.Failed($"The copy failed: {e.Message}", e);
            }
            finally
            {
                run.Talk.EndProgress();
            }
        }

        /// <summary>From this machine into a guest.</summary>
        public async Task InAsync(string source, string vm, string path, CancellationToken cancellationToken)
        {
            try
            {
                if (source == Stdio)
                {
                    await using var input = run.Host.OpenInput();
                    await SendAsync(vm, path, mode: null, new StreamContent(input), FileTypes.Tar, cancellationToken);
                    return;
                }

                var local = Path.GetFullPath(source, run.Host.WorkingDirectory);
                var there = await run.Client.FindFileAsync(vm, path, cancellationToken);
                var name = Path.GetFileName(Path.TrimEndingDirectorySeparator(local));
                var target = there?.Type == FileTypes.Directory ? $"{path.TrimEnd('/')}/{name}" : path;
                if (there is null && path.EndsWith('/') && !Directory.Exists(local))
                {
                    throw CliException.Failed($"VM '{vm}' has no directory '{path}'; make it first, or leave out the slash.");
                }

                if (Directory.Exists(local))
                {
                    await run.Client.WriteFileAsync(vm, target, mode: null, new TarPacker(Path.TrimEndingDirectorySeparator(local), Skip, bytes => Draw(name, bytes)), cancellationToken);
                    return;
                }

                await using var file = new FileStream(local, new FileStreamOptions { Options = FileOptions.Asynchronous | FileOptions.SequentialScan, BufferSize = 0 });
                await using var counted = new CountedStream(file, bytes => Draw(name, bytes));
                var content = new StreamContent(counted);
                if (file.CanSeek)
                {
                    content.Headers.ContentLength = file.Length;
                }

                await SendAsync(vm, target, File.GetUnixFileMode(local), content, "application/octet-stream", cancellationToken);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                throw CliException.Failed($"'{source}' cannot be read: {e.Message}", e);
            }
            finally
            {
                run.Talk.EndProgress();
            }
        }

        private async Task SendAsync(string vm, string path, UnixFileMode? mode, StreamContent content, string type, CancellationToken cancellationToken)
        {
            using (content)
            {
                content.Headers.ContentType = new MediaTypeHeaderValue(type);
                await run.Client.WriteFileAsync(vm, path, mode, content, cancellationToken);
            }
        }

        /// <summary>A directory is an archive already; a file becomes one of a single entry, as with containers.</summary>
        private async Task WriteTarAsync(Stream body, string? name, long? length, CancellationToken cancellationToken)
        {
            if (run.Host.OutputIsTerminal)
            {
                throw CliException.Usage("An archive is no text for a terminal; redirect standard output, or name a path in place of '-'.");
            }

            if (name is null)
            {
                await body.CopyToAsync(run.Host.Output, cancellationToken);
                return;
            }

            await using var tar = new TarWriter(run.Host.Output, TarEntryFormat.Pax, leaveOpen: true);
            await using var spooled = length is null ? null : new SizedStream(body, length.Value);
            if (spooled is null)
            {
                throw CliException.Failed("The size of the file is not known, so that it cannot be put into an archive; name a path in place of '-'.");
            }

            await tar.WriteEntryAsync(new PaxTarEntry(TarEntryType.RegularFile, name) { DataStream = spooled }, cancellationToken);
        }

        private async Task WriteFileAsync(Stream body, string local, string name, string? mode, CancellationToken cancellationToken)
        {
            if (LinkStatus.Find(local) is { Kind: LinkKind.Directory })
            {
                throw CliException.Failed($"'{local}' is a directory; name a file.");
            }

            // Beside its place first: what was there stays until the copy is whole.
            var part = $"{local}.part-{Guid.NewGuid():N}";
            try
            {
                await using (var file = new FileStream(part, FileMode.CreateNew, FileAccess.Write))
                {
                    await using var counted = new CountedStream(body, bytes => Draw(name, bytes));
                    await counted.CopyToAsync(file, cancellationToken);
                }

                if (mode is { Length: > 0 and <= 5 } && mode.All(c => c is >= '0' and <= '7'))
                {
                    File.SetUnixFileMode(part, (UnixFileMode)(Convert.ToInt32(mode, 8) & 0x1ff));
                }

                File.Move(part, local, overwrite: true);
            }
            finally
            {
                File.Delete(part);
            }
        }

        private void Skip(string path) => run.Talk.Warn($"Note: '{path}' is left out: it is neither a file, a directory nor a link.");

        private void Draw(string name, long bytes) => run.Talk.Progress(string.Create(CultureInfo.InvariantCulture, $"{name}  {Amounts.Bytes(bytes)}"));
    }

    /// <summary>A stream that knows its length, which an archive must name before the bytes.</summary>
    private sealed class SizedStream(Stream inner, long length) : Stream
    {
        private long _position;

        public override bool CanRead => true;

        public override bool CanSeek => true;

        public override bool CanWrite => false;

        public override long Length => length;

        public override long Position
        {
            get => _position;
            set => throw new NotSupportedException();
        }

        public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

        public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) => ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

        public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            var read = await inner.ReadAsync(buffer, cancellationToken);
            _position += read;
            return read > 0 || _position >= length || buffer.IsEmpty ? read : throw new EndOfStreamException("the file became shorter while it was read");
        }

        public override void Flush()
        {
        }

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();

        public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();
    }
}
