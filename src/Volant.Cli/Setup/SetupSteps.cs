using System.Text;
using Volant.Linux.IO;

namespace Volant.Cli.Setup;

/// <summary>The steps of <c>volar setup</c>. How each is undone is in <see cref="UndoSteps"/>.</summary>
/// <param name="host">The host.</param>
/// <param name="journal">What was changed before.</param>
/// <param name="settings">What is wanted, checked.</param>
internal sealed class SetupSteps(SetupHost host, SetupJournal journal, SetupSettings settings)
{
    /// <summary>Group that owns <c>/dev/kvm</c>, <c>/dev/vhost-net</c> and <c>/dev/vhost-vsock</c>.</summary>
    public const string DeviceGroup = "kvm";

    /// <summary>Where a package has its unit.</summary>
    private const string VendorUnits = "/usr/lib/systemd/system/";

    private static readonly string[] UnitDirectories = ["/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];

    private bool _willRestart;

    /// <summary>All of them, in the order in which each finds what it needs.</summary>
    public IReadOnlyList<SetupStep> All() =>
    [
        UserStep(),
        MemberStep(),
        .. DirectorySteps(),
        new SetupFile(SetupSettings.EnvironmentPath, old => old is null ? EnvironmentFile.Text(settings) : EnvironmentFile.Merge(old, settings)) { Mode = 0b110_100_000, Group = SetupSettings.User, NeedsRestart = true, Merges = true }.Step(host, journal, WillRestart),
        new SetupFile(settings.ServiceFile, _ => ServiceUnit.Text(settings)) { PrintedAs = "unit", NeedsRestart = true, ElsewhereAt = VendorUnit() }.Step(host, journal, WillRestart),
        new SetupFile(SetupSettings.SysctlPath, _ => ServiceUnit.Sysctl) { PrintedAs = "sysctl" }.Step(host, journal, WillRestart),
        SettingStep(),
        ServiceStep(),
    ];

    private SetupStep UserStep() => new(
        $"user {SetupSettings.User}",
        _ => Task.FromResult(host.UserId(SetupSettings.User) is null ? StepView.Pending("create", "a system user and group without a login")
            : host.GroupId(SetupSettings.User) is null ? throw CliException.Failed($"There is a user '{SetupSettings.User}' but no group of that name; make it first: groupadd --system {SetupSettings.User}")
            : StepView.Unchanged),
        async cancellationToken =>
        {
            journal.Put(new Change(ChangeKinds.User, SetupSettings.User));
            string[] group = host.GroupId(SetupSettings.User) is null ? ["--user-group"] : ["--gid", SetupSettings.User];
            await host.RunAsync("useradd", ["--system", .. group, "--home-dir", settings.StateDirectory, "--no-create-home", "--shell", "/usr/sbin/nologin", "--comment", "Volant daemon", SetupSettings.User], cancellationToken);
        });

    private SetupStep MemberStep() => new(
        $"group {DeviceGroup}",
        _ => Task.FromResult(host.GroupId(DeviceGroup) is null ? StepView.Skipped($"this host has no group {DeviceGroup}; without it only root may use /dev/kvm")
            : host.IsMember(SetupSettings.User, DeviceGroup) ? StepView.Unchanged
            : StepView.Pending("update", $"{SetupSettings.User} becomes a member, for /dev/kvm")),
        async cancellationToken =>
        {
            journal.Put(new Change(ChangeKinds.Member, $"{SetupSettings.User}:{DeviceGroup}"));
            await host.RunAsync("usermod", ["--append", "--groups", DeviceGroup, SetupSettings.User], cancellationToken);
        });

    /// <summary>Directories with the rights of reliability §5.2; what is below <c>/run</c> systemd makes at every start.</summary>
    private IEnumerable<SetupStep> DirectorySteps()
    {
        var wanted = new List<(string Path, int Mode, string User, string Group)>
        {
            ("/etc/volant", 0b111_101_000, "root", SetupSettings.User),
            (settings.StateDirectory, 0b111_000_000, SetupSettings.User, SetupSettings.User),
            (settings.LogDirectory, 0b111_101_000, SetupSettings.User, SetupSettings.User),
        };
        if (settings.StateDirectory != SetupJournal.DirectoryPath)
        {
            // Kernels lie there, and what setup notes.
            wanted.Insert(0, (SetupJournal.DirectoryPath, 0b111_101_101, "root", "root"));
        }

        if (!settings.RuntimeDirectory.StartsWith("/run/", StringComparison.Ordinal))
        {
            wanted.Add((settings.RuntimeDirectory, 0b111_101_000, SetupSettings.User, SetupSettings.User));
        }

        return wanted.SelectMany(each => MissingParents(each.Path).Append(DirectoryStep(each.Path, each.Mode, each.User, each.Group)))
            .Concat(MissingParents(settings.ServiceFile))
            .Concat(MissingParents(SetupSettings.SysctlPath))
            .DistinctBy(step => step.Subject, StringComparer.Ordinal);
    }

    private IEnumerable<SetupStep> MissingParents(string path)
    {
        var missing = new Stack<string>();
        for (var at = Path.GetDirectoryName(path); at is { Length: > 1 } && host.Find(at) is null; at = Path.GetDirectoryName(at))
        {
            missing.Push(at);
        }

        return missing.Select(each => DirectoryStep(each, 0b111_101_101, "root", "root"));
    }

    private SetupStep DirectoryStep(string path, int mode, string user, string group)
    {
        return SetupStep.Of(path, Look, Apply);

        StepView Look()
        {
            var detail = $"mode {Convert.ToString(mode, 8).PadLeft(4, '0')}, {user}:{group}";
            return host.Find(path) switch
            {
                null => StepView.Pending("create", detail),
                { Kind: not LinkKind.Directory } => throw CliException.Failed($"'{path}' is no directory; move it away, or name another with an option of setup."),
                var status when status.Value.Mode == mode && status.Value.Uid == host.UserId(user) && status.Value.Gid == host.GroupId(group) => StepView.Unchanged,
                _ => StepView.Pending(path == SetupJournal.DirectoryPath && journal.MadeDirectory ? "create" : "update", detail),
            };
        }

        void Apply()
        {
            var status = host.Find(path);
            if (journal.Find(ChangeKinds.Directory, path) is null)
            {
                journal.Put(status is { } before ? new Change(ChangeKinds.Directory, path) { Mode = before.Mode, Uid = before.Uid, Gid = before.Gid } : new Change(ChangeKinds.Directory, path));
            }

            if (host.Find(path) is null)
            {
                host.MakeDirectory(path);
            }

            host.SetDirectory(path, mode, host.UserId(user)!.Value, host.GroupId(group)!.Value);
        }
    }

    private void WillRestart() => _willRestart = true;

    /// <summary>Where a package has brought the unit that setup would write to the usual place; null when none has.</summary>
    private string? VendorUnit()
    {
        var path = VendorUnits + settings.ServiceName;
        return settings.ServiceFile == SetupSettings.DefaultServiceFile && host.Read(path) is { } content && Encoding.UTF8.GetString(content) == ServiceUnit.Text(settings) ? path : null;
    }

    private SetupStep SettingStep()
    {
        const string Path = ServiceUnit.ForwardingFile;
        return SetupStep.Of(
            "net.ipv4.ip_forward",
            () => host.ReadWord(Path) switch
            {
                "1" => StepView.Unchanged,
                null => StepView.Skipped($"{Path} cannot be read"),
                _ => StepView.Pending("update", "1, now; at later boots by the file above"),
            },
            () =>
            {
                if (journal.Find(ChangeKinds.Setting, Path) is null)
                {
                    journal.Put(new Change(ChangeKinds.Setting, Path) { Before = host.ReadWord(Path) });
                }

                host.WriteWord(Path, "1");
            });
    }

    private SetupStep ServiceStep() => new(
        settings.ServiceName,
        async cancellationToken =>
        {
            if (!host.RunsSystemd)
            {
                return StepView.Skipped($"systemd does not run here; where it does: systemctl enable --now {settings.ServiceName}");
            }

            var unit = settings.ServiceName;
            var enabled = (await host.TryRunAsync("systemctl", ["is-enabled", "--quiet", unit], [], cancellationToken)).ExitCode;
            var active = (await host.TryRunAsync("systemctl", ["is-active", "--quiet", unit], [], cancellationToken)).ExitCode;
            return enabled == 0 && active == 0 && !_willRestart && !journal.NeedsRestart ? StepView.Unchanged
                : StepView.Pending("enable", active == 0 ? "at every boot, and started anew; no VM is touched" : "at every boot, and started now");
        },
        async cancellationToken =>
        {
            var unit = settings.ServiceName;
            await host.RunAsync("systemctl", ["daemon-reload"], cancellationToken);
            if (journal.Find(ChangeKinds.Service, unit) is null && (await host.TryRunAsync("systemctl", ["is-enabled", "--quiet", unit], [], cancellationToken)).ExitCode != 0)
            {
                journal.Put(new Change(ChangeKinds.Service, unit));
            }

            await host.RunAsync("systemctl", ["enable", UnitDirectories.Contains(Path.GetDirectoryName(settings.ServiceFile), StringComparer.Ordinal) ? unit : settings.ServiceFile], cancellationToken);
            var (code, output) = await host.TryRunAsync("systemctl", ["restart", unit], [], cancellationToken);
            if (code != 0)
            {
                throw CliException.Failed($"{unit} did not start: {output.ReplaceLineEndings(" ")} Its log says why: journalctl --unit {unit} --lines 20. Then run setup again: it goes on where it stopped.");
            }

            journal.NoteRestart();
        });
}
