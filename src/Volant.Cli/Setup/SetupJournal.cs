using System.ComponentModel;
using System.Globalization;
using System.Text;
using System.Text.Json;
using Volant.Cli.Output;
using Volant.Linux;
using Volant.Linux.Files;
using Volant.Linux.Processes;

namespace Volant.Cli.Setup;

/// <summary>The kinds of things that setup changes.</summary>
internal static class ChangeKinds
{
    /// <summary>A directory, by path.</summary>
    public const string Directory = "directory";

    /// <summary>A file, by path.</summary>
    public const string File = "file";

    /// <summary>A user with a group of the same name.</summary>
    public const string User = "user";

    /// <summary>A membership, as <c>user:group</c>.</summary>
    public const string Member = "member";

    /// <summary>A setting of the running kernel, by path.</summary>
    public const string Setting = "setting";

    /// <summary>A systemd unit that was enabled, by name.</summary>
    public const string Service = "service";
}

/// <summary>Something that setup made or changed on the host.</summary>
/// <param name="Kind">What it is: one of <see cref="ChangeKinds"/>.</param>
/// <param name="Subject">Its name: a path, a user, a setting.</param>
internal sealed record Change(string Kind, string Subject)
{
    /// <summary>What was there before: a file's content in base64, a setting's value; null for nothing.</summary>
    public string? Before { get; init; }

    /// <summary>Mode of what was there before; null for nothing.</summary>
    public int? Mode { get; init; }

    /// <summary>Owner of what was there before.</summary>
    public uint Uid { get; init; }

    /// <summary>Group of what was there before.</summary>
    public uint Gid { get; init; }

    /// <summary>What setup wrote last and before that, in base64; null once it was mixed with what an administrator wrote.</summary>
    /// <remarks>Two, because a run may break off between the record and the file.</remarks>
    public IReadOnlyList<string>? Wrote { get; init; }
}

/// <summary>Keeps what setup changes, so that it can be undone: written before the change, forgotten after it was undone.</summary>
/// <remarks>
/// The file lies in a directory of the service's user, who could put another one there. It is believed only when it belongs to root and nobody
/// else may write to it; what it replaced is in it, and not in files beside it.
/// </remarks>
internal sealed class SetupJournal
{
    /// <summary>Where it is.</summary>
    public const string FilePath = DirectoryPath + "/setup.json";

    /// <summary>The directory it is in.</summary>
    public const string DirectoryPath = SetupSettings.DefaultStateDirectory;

    private const int Format = 1;
    private const int MaxBytes = 16 * 1024 * 1024;
    private const int WritableByOthers = 0b000_010_010;

    private readonly SetupHost _host;
    private readonly List<Change> _changes = [];

    private SetupJournal(SetupHost host) => _host = host;

    /// <summary>What was changed, the oldest first.</summary>
    public IReadOnlyList<Change> Changes => _changes;

    /// <summary>Whether the service has not been started with the last settings.</summary>
    public bool NeedsRestart { get; private set; }

    /// <summary>Whether this run made its directory, with rights that are not yet the right ones.</summary>
    public bool MadeDirectory { get; private set; }

    /// <summary>Reads it; empty when there is none.</summary>
    /// <exception cref="CliException">It is damaged, or somebody else could have written it.</exception>
    public static SetupJournal Load(SetupHost host)
    {
        var journal = new SetupJournal(host);
        try
        {
            if (ReadTrusted(host.At(DirectoryPath)) is { } content)
            {
                journal.Parse(content);
            }
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or KeyNotFoundException or FormatException)
        {
            throw CliException.Failed($"'{FilePath}' is damaged ({e.Message}); remove it if nothing needs to be undone any more.", e);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or Win32Exception)
        {
            throw CliException.Failed($"'{FilePath}' cannot be read: {e.Message}", e);
        }

        return journal;
    }

    /// <summary>The record of something; null when setup has not changed it.</summary>
    public Change? Find(string kind, string subject) => _changes.FirstOrDefault(change => change.Kind == kind && change.Subject == subject);

    /// <summary>Records a change that is about to be made, in place of an older record of the same.</summary>
    public void Put(Change change, bool needsRestart = false)
    {
        MakeDirectory();
        var index = _changes.FindIndex(each => each.Kind == change.Kind && each.Subject == change.Subject);
        if (index < 0)
        {
            _changes.Add(change);
        }
        else
        {
            _changes[index] = change;
        }

        NeedsRestart |= needsRestart;
        Save();
    }

    /// <summary>Notes that the service runs with the last settings.</summary>
    public void NoteRestart()
    {
        if (NeedsRestart)
        {
            NeedsRestart = false;
            Save();
        }
    }

    /// <summary>Forgets a change that was undone, or is left as it is for good.</summary>
    public void Remove(Change change)
    {
        _changes.Remove(change);
        if (_changes.Count == 0)
        {
            Delete();
        }
        else
        {
            Save();
        }
    }

    /// <summary>Removes the file, for its directory is about to go.</summary>
    public void Delete() => _host.RemoveFile(FilePath);

    private void MakeDirectory()
    {
        if (_host.Find(DirectoryPath) is not null)
        {
            return;
        }

        // The first thing that is made, and thus the last that is removed.
        Directory.CreateDirectory(_host.At(Path.GetDirectoryName(DirectoryPath)!));
        _host.MakeDirectory(DirectoryPath);
        MadeDirectory = true;
        _changes.Insert(0, new Change(ChangeKinds.Directory, DirectoryPath));
    }

    private static byte[]? ReadTrusted(string directoryPath)
    {
        if (!Directory.Exists(directoryPath))
        {
            return null;
        }

        using var directory = DirectoryHandle.Open(directoryPath);
        try
        {
            using var file = directory.OpenFile("setup.json"u8);
            var facts = DirectoryHandle.FactsOf(file, FilePath);
            if (facts.Kind != FileKind.Regular || (facts.Uid != 0 && facts.Uid != EffectiveUser.Id) || (facts.Mode & WritableByOthers) != 0 || facts.Size > MaxBytes)
            {
                throw CliException.Failed($"'{FilePath}' is not what setup wrote: it must be a file that belongs to root and that nobody else may write to. Look who put it there, and remove it.");
            }

            var content = new byte[facts.Size];
            return content[..RandomAccess.Read(file, content, 0)];
        }
        catch (Win32Exception e) when (e.NativeErrorCode == Errno.NoEntry)
        {
            return null;
        }
    }

    private void Parse(byte[] content)
    {
        using var document = JsonDocument.Parse(content);
        var format = document.RootElement.GetProperty("format").GetInt32();
        if (format != Format)
        {
            throw new FormatException(string.Create(CultureInfo.InvariantCulture, $"format {format}, but this volar knows {Format}"));
        }

        NeedsRestart = document.RootElement.GetProperty("needs_restart").GetBoolean();
        foreach (var change in document.RootElement.GetProperty("changes").EnumerateArray())
        {
            _changes.Add(new Change(Text(change, "kind")!, Text(change, "subject")!)
            {
                Before = Text(change, "before"),
                Mode = change.TryGetProperty("mode", out var mode) ? mode.GetInt32() : null,
                Uid = change.TryGetProperty("uid", out var uid) ? uid.GetUInt32() : 0,
                Gid = change.TryGetProperty("gid", out var gid) ? gid.GetUInt32() : 0,
                Wrote = change.TryGetProperty("wrote", out var wrote) ? [.. wrote.EnumerateArray().Select(content => content.GetString()!)] : null,
            });
        }
    }

    private static string? Text(JsonElement element, string name) => element.TryGetProperty(name, out var value) ? value.GetString() : null;

    private void Save()
    {
        using var text = new StringWriter();
        JsonPrinter.Write(text, JsonPrinter.Make(Write));
        _host.Write(FilePath, Encoding.UTF8.GetBytes(text.ToString()), 0b110_000_000, _host.UserId("root")!.Value, _host.GroupId("root")!.Value);
    }

    private void Write(Utf8JsonWriter json)
    {
        json.WriteStartObject();
        json.WriteNumber("format", Format);
        json.WriteBoolean("needs_restart", NeedsRestart);
        json.WriteStartArray("changes");
        foreach (var change in _changes)
        {
            json.WriteStartObject();
            json.WriteString("kind", change.Kind);
            json.WriteString("subject", change.Subject);
            if (change.Before is not null)
            {
                json.WriteString("before", change.Before);
            }

            if (change.Mode is { } mode)
            {
                json.WriteNumber("mode", mode);
                json.WriteNumber("uid", change.Uid);
                json.WriteNumber("gid", change.Gid);
            }

            if (change.Wrote is not null)
            {
                json.WriteStartArray("wrote");
                foreach (var content in change.Wrote)
                {
                    json.WriteStringValue(content);
                }

                json.WriteEndArray();
            }

            json.WriteEndObject();
        }

        json.WriteEndArray();
        json.WriteEndObject();
    }
}
