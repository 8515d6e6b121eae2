using System.Text.Json;
using Volant.Cli;
using Volant.Cli.Doctor;
using Volant.Cli.Setup;
using Volant.Linux.Files;
using Volant.Linux.IO;
using Volant.Linux.Processes;

namespace Volant.Tests.Cli;

public sealed class SetupTests
{
    private const string UnitPath = "/etc/systemd/system/volantd.service";

    [Fact]
    public async Task A_host_is_set_up_once_and_a_second_run_changes_nothing()
    {
        using var root = new SetupRoot(systemd: true);

        var first = await root.RunAsync();
        var after = root.Snapshot();
        var calls = root.Calls;
        var second = await root.RunAsync("--output", "json");

        Assert.Equal((ExitCodes.Ok, ExitCodes.Ok), (first.ExitCode, second.ExitCode));
        AssertOwned(root, "/etc/volant", 0b111_101_000, "root", "volant");
        AssertOwned(root, "/etc/volant/volantd.env", 0b110_100_000, "root", "volant");
        AssertOwned(root, "/etc/sysctl.d/60-volant.conf", 0b110_100_100, "root", "root");
        AssertOwned(root, UnitPath, 0b110_100_100, "root", "root");
        AssertOwned(root, "/var/lib/volant", 0b111_000_000, "volant", "volant");
        AssertOwned(root, "/var/log/volant", 0b111_101_000, "volant", "volant");
        Assert.Equal("1\n", root.Read("/proc/sys/net/ipv4/ip_forward"));
        Assert.Contains("kvm:x:78:volant", root.Read("/etc/group"), StringComparison.Ordinal);
        Assert.Equal(
            ["useradd", "usermod --append --groups kvm volant", "systemctl daemon-reload", "systemctl enable volantd.service", "systemctl restart volantd.service"],
            calls.Select(call => call.StartsWith("useradd", StringComparison.Ordinal) ? "useradd" : call));
        Assert.All(JsonElement.Parse(second.Output).EnumerateArray(), step => Assert.Equal("unchanged", step.GetProperty("result").GetString()));
        Assert.Contains("set up already", second.Error, StringComparison.Ordinal);
        Assert.Equal(after, root.Snapshot());
        Assert.Equal(calls, root.Calls);
    }

    [Fact]
    public async Task A_trial_run_names_every_step_of_the_run_and_changes_nothing()
    {
        using var root = new SetupRoot(systemd: true);
        var before = root.Snapshot();

        var trial = await root.RunAsync("--dry-run", "--output", "json");
        var untouched = root.Snapshot();
        var run = await root.RunAsync("--output", "json");

        Assert.Equal(before, untouched);
        Assert.Equal(
            JsonElement.Parse(run.Output).EnumerateArray().Select(step => step.GetProperty("what").GetString()!),
            JsonElement.Parse(trial.Output).EnumerateArray().Select(step => step.GetProperty("what").GetString()!));
        Assert.All(
            JsonElement.Parse(trial.Output).EnumerateArray().Zip(JsonElement.Parse(run.Output).EnumerateArray()),
            pair => Assert.Equal(pair.First.GetProperty("result").GetString() + "d", "would " + pair.Second.GetProperty("result").GetString()));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task What_was_there_before_is_there_again_after_it_was_undone(bool systemd)
    {
        using var root = new SetupRoot(systemd);
        root.Write("/etc/sysctl.d/60-volant.conf", "net.ipv4.ip_forward = 0 # ours\n");
        root.Write("/etc/systemd/system/volantd.service", "[Service]\nExecStart=/opt/volantd\n");
        File.SetUnixFileMode(root.At("/etc/systemd/system/volantd.service"), UnixFileMode.UserRead);
        Directory.CreateDirectory(root.At("/var/log/volant"), (UnixFileMode)0b111_101_101);
        root.Write("/var/log/volant/old.log", "old\n");
        var before = root.Snapshot();

        await root.RunAsync();
        await root.RunAsync("--subnet", "10.20.0.0/24");
        var between = root.Snapshot();
        var trial = await root.RunAsync("--undo", "--dry-run");
        var untouched = root.Snapshot();
        var undone = await root.RunAsync("--undo");
        var again = await root.RunAsync("--undo");

        Assert.NotEqual(before, between);
        Assert.Equal((ExitCodes.Ok, between), (trial.ExitCode, untouched));
        Assert.Equal(ExitCodes.Ok, undone.ExitCode);
        Assert.Equal(before, root.Snapshot());
        Assert.Contains("changed nothing", again.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_an_administrator_changed_since_and_data_stay_and_are_named()
    {
        using var root = new SetupRoot(systemd: true);
        await root.RunAsync();
        root.Write(UnitPath, root.Read(UnitPath) + "# mine\n");
        root.Write("/etc/volant/volantd.env", root.Read("/etc/volant/volantd.env") + "VOLANT_API_KEY=of-the-administrator\n");
        root.Write("/var/lib/volant/state.db", "data");

        var again = await root.RunAsync("--bridge", "vbr7");
        var trial = await root.RunAsync("--undo", "--dry-run", "--output", "json");
        var undone = await root.RunAsync("--undo", "--output", "json");

        Assert.Contains($"{UnitPath}  kept", Spaces(again.Output), StringComparison.Ordinal);
        var results = JsonElement.Parse(undone.Output).EnumerateArray().ToDictionary(step => step.GetProperty("what").GetString()!, step => step.GetProperty("result").GetString(), StringComparer.Ordinal);
        Assert.Equal("kept", results[UnitPath]);
        Assert.Equal("kept", results["/etc/volant/volantd.env"]);
        Assert.Equal("kept", results["/var/lib/volant"]);
        Assert.Equal("kept", results["user volant"]);
        Assert.Equal("removed", results["/etc/sysctl.d/60-volant.conf"]);
        Assert.EndsWith("# mine\n", root.Read(UnitPath), StringComparison.Ordinal);
        Assert.Contains("VOLANT_API_KEY=of-the-administrator", root.Read("/etc/volant/volantd.env"), StringComparison.Ordinal);
        Assert.Contains("VOLANT_BRIDGE=vbr7\n", root.Read("/etc/volant/volantd.env"), StringComparison.Ordinal);

        Assert.Equal(
            results.Values.Select(result => result!.Replace("would ", string.Empty, StringComparison.Ordinal)),
            JsonElement.Parse(trial.Output).EnumerateArray().Select(step => step.GetProperty("result").GetString()!).Select(result => result.StartsWith("would ", StringComparison.Ordinal) ? result[6..] + "d" : result));

        // Once data and settings are gone, the rest can go.
        File.Delete(root.At("/var/lib/volant/state.db"));
        File.Delete(root.At("/etc/volant/volantd.env"));
        await root.RunAsync("--undo");
        Assert.False(Directory.Exists(root.At("/var/lib/volant")));
        Assert.DoesNotContain("volant", root.Read("/etc/passwd"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_run_that_breaks_off_after_any_step_is_completed_by_the_next_one_and_can_be_undone()
    {
        for (var steps = 0; ; steps++)
        {
            using var root = new SetupRoot(systemd: true);
            root.Write("/etc/sysctl.d/60-volant.conf", "old\n");
            var before = root.Snapshot();
            var host = new SetupHost(new HostRoot(_ => null, root.Path));
            var all = new SetupSteps(host, SetupJournal.Load(host), new SetupSettings { Daemon = "/usr/lib/volant/volantd" }.Checked()).All();
            await StepResult.RunAsync(all.Take(steps), dryRun: false, _ => { }, TestContext.Current.CancellationToken);

            var run = await root.RunAsync();
            var second = await root.RunAsync("--output", "json");
            await root.RunAsync("--undo");

            Assert.Equal(ExitCodes.Ok, run.ExitCode);
            Assert.All(JsonElement.Parse(second.Output).EnumerateArray(), step => Assert.Equal("unchanged", step.GetProperty("result").GetString()));
            Assert.Equal(before, root.Snapshot());
            if (steps == all.Count)
            {
                break;
            }
        }
    }

    [Theory]
    [InlineData("usr/sbin/useradd")]
    [InlineData("usr/sbin/usermod")]
    [InlineData("usr/bin/systemctl")]
    public async Task A_step_that_fails_is_named_what_was_done_is_told_and_the_next_run_goes_on(string program)
    {
        using var root = new SetupRoot(systemd: true);
        var works = root.Read(program);
        var before = root.Snapshot();
        root.Program(program, "case $1 in is-*) exit 1;; esac; echo 'it is broken'; exit 9");

        var failed = await root.RunAsync();
        root.Write(program, works);
        var run = await root.RunAsync();
        var undone = await root.RunAsync("--undo");

        Assert.Equal((ExitCodes.Failed, ExitCodes.Ok, ExitCodes.Ok), (failed.ExitCode, run.ExitCode, undone.ExitCode));
        Assert.Contains("it is broken", failed.Error, StringComparison.Ordinal);
        Assert.Equal(before, root.Snapshot());
    }

    [Fact]
    public async Task What_an_interrupted_write_left_is_neither_taken_for_an_administrators_work_nor_left_behind()
    {
        using var root = new SetupRoot();
        root.Write("/etc/sysctl.d/60-volant.conf", "old\n");
        var before = root.Snapshot();
        var host = new SetupHost(new HostRoot(_ => null, root.Path));
        SetupJournal.Load(host).Put(new Change(ChangeKinds.File, "/etc/sysctl.d/60-volant.conf") { Before = Convert.ToBase64String("old\n"u8), Mode = LinkStatus.Find(root.At("/etc/sysctl.d/60-volant.conf"))!.Value.Mode, Uid = EffectiveUser.Id, Gid = LinkStatus.Find(root.Path)!.Value.Gid, Wrote = [Convert.ToBase64String("new\n"u8)] });
        root.Write("/etc/sysctl.d/.60-volant.conf.volar-setup", "ne");

        await root.RunAsync();
        var written = root.Read("/etc/sysctl.d/60-volant.conf");
        await root.RunAsync("--undo");

        Assert.Equal(ServiceUnit.Sysctl, written);
        Assert.Equal(before, root.Snapshot().Replace("/etc/sysctl.d/.60-volant.conf.volar-setup", string.Empty, StringComparison.Ordinal));
    }

    [Fact]
    public async Task Settings_that_the_daemon_refuses_change_nothing()
    {
        using var root = new SetupRoot();
        root.Program("usr/lib/volant/volantd", "echo \"volantd: VOLANT_SUBNET: '$VOLANT_SUBNET' is not valid; host $VOLANT_HOST_IP.\"; exit 78");
        var before = root.Snapshot();

        var result = await root.RunAsync("--subnet", "10.1.2.0/24");

        Assert.Equal(ExitCodes.Failed, result.ExitCode);
        Assert.Contains("VOLANT_SUBNET: '10.1.2.0/24' is not valid; host 10.1.2.1.", result.Error, StringComparison.Ordinal);
        Assert.Equal(before, root.Snapshot());
    }

    [Theory]
    [InlineData("--bridge", "a b")]
    [InlineData("--bridge", "sixteen-letters-x")]
    [InlineData("--subnet", "10.0.0.0")]
    [InlineData("--host-ip", "10.1")]
    [InlineData("--runtime-dir", "run")]
    [InlineData("--log-dir", "/var/log/../x")]
    [InlineData("--work-dir", "/root/volant")]
    [InlineData("--work-dir", "/var/lib/vol ant")]
    [InlineData("--work-dir", "/var/lib/100%h")]
    [InlineData("--work-dir", "/var/log/volant")]
    [InlineData("--service-file", "/etc/systemd/system/volantd")]
    [InlineData("--bzimage", "/tmp/bzImage")]
    [InlineData("--undo", "--subnet=10.0.0.0/24")]
    public async Task A_value_that_cannot_be_used_is_refused_before_anything_changes(params string[] args)
    {
        using var root = new SetupRoot();
        var before = root.Snapshot();

        var result = await root.RunAsync(args);

        Assert.Equal(ExitCodes.Usage, result.ExitCode);
        Assert.StartsWith("Error: --", result.Error, StringComparison.Ordinal);
        Assert.Equal(before, root.Snapshot());
    }

    [Fact]
    public async Task Only_root_may_change_a_host()
    {
        Assert.SkipWhen(EffectiveUser.Id == 0, "this user is root");

        var result = await new TestCli().RunAsync("setup", "--undo");

        Assert.Equal(ExitCodes.Failed, result.ExitCode);
        Assert.Contains("must run as root", result.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_journal_that_another_user_could_have_written_is_not_believed()
    {
        using var root = new SetupRoot();
        await root.RunAsync();
        var written = root.Snapshot();
        File.SetUnixFileMode(root.At(SetupJournal.FilePath), (UnixFileMode)0b110_110_110);
        var writable = await root.RunAsync("--undo");
        File.SetUnixFileMode(root.At(SetupJournal.FilePath), (UnixFileMode)0b110_000_000);
        File.Move(root.At(SetupJournal.FilePath), root.At("/var/lib/volant/other.json"));
        File.CreateSymbolicLink(root.At(SetupJournal.FilePath), root.At("/var/lib/volant/other.json"));
        var linked = await root.RunAsync("--undo");
        File.Move(root.At("/var/lib/volant/other.json"), root.At(SetupJournal.FilePath), overwrite: true);

        Assert.Equal((ExitCodes.Failed, ExitCodes.Failed), (writable.ExitCode, linked.ExitCode));
        Assert.Contains("is not what setup wrote", writable.Error, StringComparison.Ordinal);
        Assert.Equal(written, root.Snapshot());
    }

    [Fact]
    public async Task Nothing_is_undone_while_virtual_machines_run()
    {
        using var root = new SetupRoot(systemd: true);
        await root.RunAsync();
        Process("4711", "volantd");
        var daemonOnly = await root.RunAsync("--undo", "--dry-run");
        Process("4712", "qemu-system-x86");
        var before = root.Snapshot();

        var result = await root.RunAsync("--undo");

        Assert.Equal(ExitCodes.Ok, daemonOnly.ExitCode);
        Assert.Equal(ExitCodes.Failed, result.ExitCode);
        Assert.Contains("such as 4712", result.Error, StringComparison.Ordinal);
        Assert.Equal(before, root.Snapshot());

        void Process(string id, string name)
        {
            Directory.CreateDirectory(root.At($"proc/{id}"));
            root.Write($"proc/{id}/comm", name + "\n");
            using var directory = DirectoryHandle.Open(root.At($"proc/{id}"));
            directory.SetOwner(EffectiveUser.Id == 0 ? 990 : EffectiveUser.Id, LinkStatus.Find(root.Path)!.Value.Gid);
        }
    }

    [Fact]
    public async Task The_unit_of_a_package_is_used_as_it_is()
    {
        using var root = new SetupRoot();
        root.Write("usr/lib/systemd/system/volantd.service", ServiceUnit.Text(new SetupSettings { Daemon = "/usr/lib/volant/volantd" }));

        await root.RunAsync();
        Assert.False(File.Exists(root.At(UnitPath)));

        await root.RunAsync("--log-dir", "/srv/volant/logs");
        Assert.Contains("VOLANT_LOG_DIR=/srv/volant/logs", root.Read(UnitPath), StringComparison.Ordinal);
        AssertOwned(root, "/srv/volant/logs", 0b111_101_000, "volant", "volant");
    }

    [Fact]
    public void A_setting_that_is_named_replaces_the_line_that_counts_and_nothing_else()
    {
        const string Old = "# mine\nVOLANT_BRIDGE=old\n#VOLANT_SUBNET=x\nVOLANT_BRIDGE = 'vbr9'\nVOLANT_API_KEY=\"a b\"";
        var settings = new SetupSettings { Daemon = "/usr/bin/volantd", Bridge = "vbr1", Subnet = "10.0.0.0/24" }.Checked();

        var merged = EnvironmentFile.Merge(Old, settings);

        Assert.Equal("# mine\nVOLANT_BRIDGE=vbr1\n#VOLANT_SUBNET=x\nVOLANT_BRIDGE = 'vbr9'\nVOLANT_API_KEY=\"a b\"\nVOLANT_SUBNET=10.0.0.0/24\nVOLANT_HOST_IP=10.0.0.1\n", merged);
        Assert.Equal(merged, EnvironmentFile.Merge(merged, settings));
        Assert.Equal(["VOLANT_BRIDGE=vbr1", "VOLANT_API_KEY=a b", "VOLANT_SUBNET=10.0.0.0/24", "VOLANT_HOST_IP=10.0.0.1"], EnvironmentFile.Variables(merged));
    }

    [Fact]
    public async Task A_file_is_printed_as_it_would_be_written()
    {
        using var root = new SetupRoot();
        foreach (var (name, path) in new[] { ("unit", UnitPath), ("environment", "/etc/volant/volantd.env"), ("sysctl", "/etc/sysctl.d/60-volant.conf") })
        {
            var printed = await root.RunAsync("--print", name, "--subnet", "10.9.0.0/16");
            await root.RunAsync("--subnet", "10.9.0.0/16");

            Assert.Equal(root.Read(path), printed.Output);
        }
    }

    private static void AssertOwned(SetupRoot root, string path, int mode, string user, string group)
    {
        var host = new SetupHost(new HostRoot(_ => null, root.Path));
        var status = LinkStatus.Find(root.At(path));
        Assert.NotNull(status);
        Assert.Equal((Convert.ToString(mode, 8), host.UserId(user), host.GroupId(group)), (Convert.ToString(status.Value.Mode, 8), status.Value.Uid, status.Value.Gid));
    }

    private static string Spaces(string text) => string.Join('\n', text.Split('\n').Select(line => string.Join("  ", line.Split("  ", StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries))));
}
