using System.CommandLine;
using System.Globalization;
using System.IO.Compression;
using System.Security.Cryptography;
using System.Text.Json;
using Volant.Fledge.Cpio;

namespace Volant.Fledge.Commands;

/// <summary>What <c>fledge inspect</c> found.</summary>
/// <param name="File">Absolute path of the file.</param>
/// <param name="Sha256">Its checksum, 64 hex digits.</param>
/// <param name="SizeBytes">Its size.</param>
/// <param name="Compression"><c>none</c> or <c>gzip</c>.</param>
/// <param name="Entries">What it holds, in the order of the archive.</param>
internal sealed record InspectedArchive(string File, string Sha256, long SizeBytes, string Compression, IReadOnlyList<InspectedEntry> Entries);

/// <summary>One entry.</summary>
/// <param name="Path">Path in the guest.</param>
/// <param name="Mode">As <c>ls -l</c> shows it.</param>
/// <param name="Uid">Owner.</param>
/// <param name="Gid">Group.</param>
/// <param name="SizeBytes">Length of the content.</param>
/// <param name="Target">Target of a symbolic link.</param>
internal sealed record InspectedEntry(string Path, string Mode, uint Uid, uint Gid, long SizeBytes, string? Target);

/// <summary><c>fledge inspect FILE</c>.</summary>
internal static class InspectCommand
{
    private const int MagicBytes = 6;

    /// <summary>Makes the command.</summary>
    public static Command Create(Terminal terminal)
    {
        var file = new Argument<string>("FILE") { Description = "An initramfs: cpio or cpio.gz" };
        FledgeApp.RefuseOptions(file);
        var json = new Option<bool>("--json") { Description = "Print the result as JSON" };
        var command = new Command("inspect", "List what an initramfs holds") { file, json };
        command.SetAction((parsed, cancellationToken) => FledgeApp.GuardAsync(terminal, async () =>
        {
            var archive = await InspectAsync(Path.GetFullPath(parsed.GetRequiredValue(file)), cancellationToken);
            if (parsed.GetValue(json))
            {
                await terminal.Out.WriteLineAsync(JsonSerializer.Serialize(archive, FledgeJson.Default.InspectedArchive));
                return;
            }

            await terminal.Out.WriteAsync(string.Create(
                CultureInfo.InvariantCulture,
                $"file      {archive.File}\nsha256    {archive.Sha256}\nsize      {archive.SizeBytes} bytes, compression {archive.Compression}, {archive.Entries.Count} entries\n\n"));
            foreach (var entry in archive.Entries)
            {
                await terminal.Out.WriteLineAsync(string.Create(
                    CultureInfo.InvariantCulture,
                    $"{entry.Mode} {entry.Uid,5} {entry.Gid,5} {entry.SizeBytes,10} /{Printable(entry.Path)}{(entry.Target is null ? string.Empty : " -> " + Printable(entry.Target))}"));
            }
        }));
        return command;
    }

    private static async Task<InspectedArchive> InspectAsync(string path, CancellationToken cancellationToken)
    {
        if (!File.Exists(path))
        {
            throw new FledgeException($"There is no file '{path}'.");
        }

        await using var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read, 128 * 1024);
        var sha256 = Convert.ToHexStringLower(await SHA256.HashDataAsync(file, cancellationToken));
        file.Position = 0;
        var magic = new byte[MagicBytes];
        var length = await file.ReadAtLeastAsync(magic, MagicBytes, throwOnEndOfStream: false, cancellationToken);
        file.Position = 0;
        var gzip = length >= 2 && magic[0] == 0x1f && magic[1] == 0x8b;
        RefuseOthers(path, magic);

        var entries = new List<InspectedEntry>();
        try
        {
            await using var unzipped = gzip ? new GZipStream(file, CompressionMode.Decompress, leaveOpen: true) : null;
            await foreach (var member in new CpioReader((Stream?)unzipped ?? file).ReadAsync(cancellationToken))
            {
                entries.Add(new InspectedEntry(member.Path, ModeText(member.Mode), member.Uid, member.Gid, member.SizeBytes, member.Target));
            }
        }
        catch (InvalidDataException e)
        {
            throw new FledgeException($"'{path}' is damaged: {e.Message}", e);
        }

        return new InspectedArchive(path, sha256, file.Length, gzip ? "gzip" : "none", entries);
    }

    private static void RefuseOthers(string path, ReadOnlySpan<byte> magic)
    {
        var tool = magic switch
        {
            [0x28, 0xb5, 0x2f, 0xfd, ..] => "zstd",
            [0xfd, 0x37, 0x7a, 0x58, 0x5a, ..] => "xz",
            [0x04, 0x22, 0x4d, 0x18, ..] or [0x02, 0x21, 0x4c, 0x18, ..] => "lz4",
            _ => null,
        };
        if (tool is not null)
        {
            throw new FledgeException($"'{path}' is compressed with {tool}, which fledge does not read; unpack it first: {tool} -dc '{path}' > FILE.");
        }
    }

    private static string ModeText(int mode)
    {
        var kind = (mode & CpioFormat.TypeMask) switch
        {
            CpioFormat.TypeDirectory => 'd',
            CpioFormat.TypeFile => '-',
            CpioFormat.TypeSymlink => 'l',
            0x2000 => 'c',
            0x6000 => 'b',
            0x1000 => 'p',
            0xC000 => 's',
            _ => '?',
        };
        Span<char> text = stackalloc char[10];
        text[0] = kind;
        for (var i = 0; i < 9; i++)
        {
            text[i + 1] = (mode & (0x100 >> i)) != 0 ? "rwxrwxrwx"[i] : '-';
        }

        Special(text, 3, (mode & 0x800) != 0, 's');
        Special(text, 6, (mode & 0x400) != 0, 's');
        Special(text, 9, (mode & 0x200) != 0, 't');
        return new string(text);
    }

    private static void Special(Span<char> text, int place, bool isSet, char letter)
    {
        if (isSet)
        {
            text[place] = text[place] == 'x' ? letter : char.ToUpperInvariant(letter);
        }
    }

    /// <summary>A name from a hostile archive must not command the terminal.</summary>
    private static string Printable(string name) => string.Concat(name.Select(c => char.IsControl(c) ? '?' : c));
}
