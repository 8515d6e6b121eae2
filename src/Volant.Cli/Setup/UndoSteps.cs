using System.Text;
using Volant.Linux.IO;

namespace Volant.Cli.Setup;

/// <summary>The steps of <c>volar setup --undo</c>: what the journal holds, the newest first.</summary>
/// <param name="host">The host.</param>
/// <param name="journal">What was changed.</param>
internal sealed class UndoSteps(SetupHost host, SetupJournal journal)
{
    /// <summary>Files that stay; found by the steps before those that ask.</summary>
    private readonly HashSet<string> _keptFiles = new(StringComparer.Ordinal);

    /// <summary>Whether something stays that a later run may still remove, so that the journal must stay, too.</summary>
    private bool _unfinished;

    /// <summary>All of them.</summary>
    /// <exception cref="CliException">VMs run; nothing has been attempted.</exception>
    public IReadOnlyList<SetupStep> All()
    {
        if (journal.Changes.Count > 0 && host.UserId(SetupSettings.User) is { } user && host.ProcessesOf([user, .. UsersOfVms()], except: "volantd") is { Count: > 0 } processes)
        {
            throw CliException.Failed(
                $"{processes.Count} processes of the service run (such as {processes[0]}), hypervisors among them; delete the VMs first: volar vms list --quiet | xargs volar vms delete");
        }

        return [.. journal.Changes.Reverse().Select(UndoOf), ManagerStep()];
    }

    /// <summary>Users that hypervisors run as: whoever owns a VM's directory, but root, where the service is told to run them as itself.</summary>
    private IEnumerable<uint> UsersOfVms()
    {
        const string Variable = "Environment=VOLANT_RUNTIME_DIR=";
        var units = journal.Changes.Where(change => change.Kind == ChangeKinds.File && change.Subject.EndsWith(".service", StringComparison.Ordinal)).Select(change => host.Read(change.Subject));
        var directory = units.OfType<byte[]>().SelectMany(unit => Encoding.UTF8.GetString(unit).Split('\n')).FirstOrDefault(line => line.StartsWith(Variable, StringComparison.Ordinal))?[Variable.Length..]
            ?? SetupSettings.DefaultRuntimeDirectory;
        return host.OwnersIn(directory).Where(owner => owner != 0);
    }

    private SetupStep UndoOf(Change change) => change.Kind switch
    {
        ChangeKinds.Directory => DirectoryStep(change),
        ChangeKinds.File => FileStep(change),
        ChangeKinds.User => UserStep(change),
        ChangeKinds.Member => MemberStep(change),
        ChangeKinds.Setting => SettingStep(change),
        ChangeKinds.Service => ServiceStep(change),
        _ => throw CliException.Failed($"'{SetupJournal.FilePath}' holds '{change.Kind}', which this volar does not know; undo it with the volar that wrote it."),
    };

    private SetupStep FileStep(Change change)
    {
        // What is kept belongs to the administrator from then on.
        return SetupStep.Of(change.Subject, LookAndNote, Apply) with { OnKept = () => journal.Remove(change) };

        StepView LookAndNote()
        {
            var view = Look();
            if (view.State == StepState.Kept)
            {
                _keptFiles.Add(change.Subject);
            }

            return view;
        }

        StepView Look()
        {
            if (host.Find(change.Subject) is { Kind: not LinkKind.File })
            {
                return StepView.Kept("it is no file any more; it was replaced since setup wrote it");
            }

            var content = host.Read(change.Subject) is { } now ? Convert.ToBase64String(now) : null;
            return content == change.Before ? StepView.Pending("release", "it is as it was before setup")
                : content is null ? StepView.Kept("it was removed since setup wrote it; there was such a file before setup")
                : change.Wrote?.Contains(content, StringComparer.Ordinal) != true ? StepView.Kept("it was changed since setup wrote it; remove it when it is not needed")
                : change.Before is null ? StepView.Pending("remove")
                : StepView.Pending("restore", "to what it was before setup");
        }

        void Apply()
        {
            if (change.Before is null)
            {
                host.RemoveFile(change.Subject);
            }
            else
            {
                host.Write(change.Subject, Convert.FromBase64String(change.Before), change.Mode!.Value, change.Uid, change.Gid);
            }

            journal.Remove(change);
        }
    }

    private SetupStep DirectoryStep(Change change)
    {
        return SetupStep.Of(change.Subject, Look, Apply);

        StepView Look() => host.Find(change.Subject) switch
        {
            null => StepView.Pending("release", "it is gone already"),
            { Kind: not LinkKind.Directory } => Stays("it is no directory any more"),
            _ when change.Mode is not null => StepView.Pending("restore", "owner and mode of before setup"),
            _ when ForeignIn(change.Subject) is { Count: > 0 } left => Stays($"it holds {left.Count} more, such as {left[0]}; remove that when it is not needed, and undo again"),
            _ when change.Subject == SetupJournal.DirectoryPath && _unfinished => Stays("what is left to be undone is noted in it"),
            _ => StepView.Pending("remove"),
        };

        void Apply()
        {
            if (change.Mode is { } mode)
            {
                if (host.Find(change.Subject) is not null)
                {
                    host.SetDirectory(change.Subject, mode, change.Uid, change.Gid);
                }
            }
            else
            {
                if (change.Subject == SetupJournal.DirectoryPath)
                {
                    journal.Delete();
                }

                host.RemoveDirectory(change.Subject);
            }

            journal.Remove(change);
        }
    }

    private SetupStep UserStep(Change change) => new(
        $"user {change.Subject}",
        _ => Task.FromResult(host.UserId(change.Subject) is null ? StepView.Pending("release", "it is gone already")
            : journal.Changes.FirstOrDefault(each => each is { Kind: ChangeKinds.Directory, Mode: null } && ForeignIn(each.Subject).Count > 0) is { } kept ? Stays($"files in {kept.Subject} belong to it")
            : StepView.Pending("remove")),
        async cancellationToken =>
        {
            if (host.UserId(change.Subject) is not null)
            {
                await host.RunAsync("userdel", [change.Subject], cancellationToken);
            }

            // userdel leaves the group where USERGROUPS_ENAB is off, and where it was there before the user.
            if (host.GroupId(change.Subject) is not null)
            {
                await host.RunAsync("groupdel", [change.Subject], cancellationToken);
            }

            journal.Remove(change);
        });

    private SetupStep MemberStep(Change change)
    {
        var (user, group) = change.Subject.Split(':') is [var first, var second] ? (first, second) : throw CliException.Failed($"'{SetupJournal.FilePath}' is damaged: '{change.Subject}' is no membership.");
        return new SetupStep(
            $"group {group}",
            _ => Task.FromResult(host.IsMember(user, group) ? StepView.Pending("update", $"without {user}") : StepView.Pending("release", $"{user} is no member any more")),
            async cancellationToken =>
            {
                if (host.IsMember(user, group))
                {
                    await host.RunAsync("gpasswd", ["--delete", user, group], cancellationToken);
                }

                journal.Remove(change);
            });
    }

    private SetupStep SettingStep(Change change) => SetupStep.Of(
        change.Subject,
        () => host.ReadWord(change.Subject) == "1" && change.Before is not null ? StepView.Pending("restore", $"to {change.Before}") : StepView.Pending("release", "it is not what setup set"),
        () =>
        {
            if (host.ReadWord(change.Subject) == "1" && change.Before is { } before)
            {
                host.WriteWord(change.Subject, before);
            }

            journal.Remove(change);
        });

    private SetupStep ServiceStep(Change change) => new(
        change.Subject,
        _ => Task.FromResult(host.RunsSystemd ? StepView.Pending("disable", "and stopped") : StepView.Pending("disable", "systemd does not run here")),
        async cancellationToken =>
        {
            if (host.RunsSystemd)
            {
                await host.RunAsync("systemctl", ["disable", "--now", change.Subject], cancellationToken);
            }
            else if (host.FindProgram("systemctl") is not null)
            {
                // It removes the links all the same.
                await host.RunAsync("systemctl", ["disable", change.Subject], cancellationToken);
            }

            journal.Remove(change);
        });

    /// <summary>systemd forgets the unit that is gone.</summary>
    private SetupStep ManagerStep() => new(
        "systemd",
        _ => Task.FromResult(host.RunsSystemd ? StepView.Pending("update", "units are read anew") : StepView.Skipped("systemd does not run here")),
        cancellationToken => host.RunAsync("systemctl", ["daemon-reload"], cancellationToken));

    private StepView Stays(string detail)
    {
        _unfinished = true;
        return StepView.Kept(detail);
    }

    /// <summary>What is in a directory besides what setup will remove.</summary>
    private IReadOnlyList<string> ForeignIn(string directory) =>
    [
        .. host.List(directory).Where(name =>
        {
            var path = Path.Combine(directory, name);
            return path != SetupJournal.FilePath && (_keptFiles.Contains(path) || !journal.Changes.Any(change => change.Subject == path && change is { Kind: ChangeKinds.File or ChangeKinds.Directory, Before: null, Mode: null }));
        }),
    ];
}
