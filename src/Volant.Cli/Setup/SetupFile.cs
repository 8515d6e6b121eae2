using System.Text;

namespace Volant.Cli.Setup;

/// <summary>A file of settings that setup sees to; it belongs to root.</summary>
/// <param name="Path">Where it is.</param>
/// <param name="Text">What is to be in it, by what is in it now (null for no file).</param>
internal sealed record SetupFile(string Path, Func<string?, string> Text)
{
    /// <summary>Its mode.</summary>
    public int Mode { get; init; } = 0b110_100_100;

    /// <summary>Its group.</summary>
    public string Group { get; init; } = "root";

    /// <summary>Whether the service must start anew to see it.</summary>
    public bool NeedsRestart { get; init; }

    /// <summary>Whether the text keeps what an administrator wrote; otherwise a file that one changed is left alone.</summary>
    public bool Merges { get; init; }

    /// <summary>Its name for <c>--print</c>.</summary>
    public string? PrintedAs { get; init; }

    /// <summary>Another file that does the same as long as this one is not there; null for none.</summary>
    public string? ElsewhereAt { get; init; }

    private string Detail => $"mode {Convert.ToString(Mode, 8).PadLeft(4, '0')}, root:{Group}";

    /// <summary>The step.</summary>
    /// <param name="host">The host.</param>
    /// <param name="journal">What was changed before.</param>
    /// <param name="willRestart">Called when the look finds that the service will have to start anew.</param>
    public SetupStep Step(SetupHost host, SetupJournal journal, Action willRestart) => SetupStep.Of(
        Path,
        () =>
        {
            var view = Look(host, journal);
            if (NeedsRestart && view.State == StepState.Pending)
            {
                willRestart();
            }

            return view;
        },
        () => Apply(host, journal));

    private StepView Look(SetupHost host, SetupJournal journal)
    {
        byte[]? old;
        try
        {
            old = host.Read(Path);
        }
        catch (CliException) when (!host.MayChange)
        {
            return StepView.Skipped("this user may not read it; root may");
        }

        if (old is null)
        {
            return ElsewhereAt is null ? StepView.Pending("create", Detail) : StepView.Unchanged with { Detail = $"{ElsewhereAt} says the same" };
        }

        if (old.AsSpan().SequenceEqual(Wanted(old)))
        {
            var status = host.Find(Path)!.Value;
            return status.Mode == Mode && status.Uid == host.UserId("root") && status.Gid == host.GroupId(Group) ? StepView.Unchanged : StepView.Pending("update", Detail);
        }

        var change = journal.Find(ChangeKinds.File, Path);
        return Merges ? StepView.Pending("update", "what is in it stays, apart from what options name")
            : !IsOurs(change, old) ? StepView.Kept($"it was changed since setup wrote it; remove it and run setup again to have it anew, or compare: volar setup --print {PrintedAs}")
            : StepView.Pending(change is null || change.Before == Convert.ToBase64String(old) ? "replace" : "update", Detail);
    }

    private void Apply(SetupHost host, SetupJournal journal)
    {
        var old = host.Read(Path);
        var wanted = Wanted(old);
        var change = journal.Find(ChangeKinds.File, Path);
        var mine = old is null || IsOurs(change, old);
        change ??= old is not null && host.Find(Path) is { } status
            ? new Change(ChangeKinds.File, Path) { Before = Convert.ToBase64String(old), Mode = status.Mode, Uid = status.Uid, Gid = status.Gid, Wrote = [] }
            : new Change(ChangeKinds.File, Path) { Wrote = [] };
        journal.Put(change with { Wrote = mine && change.Wrote is { } wrote ? [.. wrote.TakeLast(1), Convert.ToBase64String(wanted)] : null }, NeedsRestart);
        host.Write(Path, wanted, Mode, host.UserId("root")!.Value, host.GroupId(Group)!.Value);
    }

    private byte[] Wanted(byte[]? old) => Encoding.UTF8.GetBytes(Text(old is null ? null : Encoding.UTF8.GetString(old)));

    /// <summary>Whether nobody else has touched it since setup wrote it, or setup never did.</summary>
    private static bool IsOurs(Change? change, byte[] content) =>
        change is null || change.Before == Convert.ToBase64String(content) || change.Wrote?.Contains(Convert.ToBase64String(content), StringComparer.Ordinal) == true;
}
