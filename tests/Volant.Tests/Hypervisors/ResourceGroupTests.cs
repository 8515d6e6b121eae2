using System.ComponentModel;
using Volant.Daemon;
using Volant.Daemon.Hypervisors;
using Volant.Linux.Kernel;
using Volant.Linux.Processes;

namespace Volant.Tests.Hypervisors;

/// <summary>Control groups of hypervisors.</summary>
public sealed class ResourceGroupTests : IDisposable
{
    private readonly TemporaryDirectory _directory = new();

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public void Dispose() => _directory.Dispose();

    [Fact]
    public void Limits_are_those_of_the_guest_and_what_the_hypervisor_needs()
    {
        string[] names = ["memory.max", "memory.swap.max", "memory.oom.group", "pids.max", "cpu.max", "io.max"];
        foreach (var name in names)
        {
            _directory.File(name, []);
        }

        ResourceGroup.Limit(_directory.Path, Specs.Plain, overheadMib: 0);
        Assert.Equal([$"{(512L + 64) << 20}", "0", "1", "130", "300000 100000", ""], names.Select(Read));
        ResourceGroup.Limit(_directory.Path, Specs.Plain with { MemoryMib = 4096, CpuCores = 1, IoMax = "8:0 rbps=1048576 wiops=100" }, overheadMib: 1280);
        Assert.Equal([$"{(4096L + 409 + 1280) << 20}", "0", "1", "129", "200000 100000", "8:0 rbps=1048576 wiops=100"], names.Select(Read));
    }

    [Fact]
    public void What_the_kernel_has_no_controller_for_is_not_limited_and_what_it_refuses_is_said()
    {
        ResourceGroup.Limit(_directory.Path, Specs.Plain, overheadMib: 0);
        Directory.CreateDirectory(Path.Combine(_directory.Path, "pids.max"));

        var fault = Assert.Throws<VolantException>(() => ResourceGroup.Limit(_directory.Path, Specs.Plain, overheadMib: 0));

        Assert.Contains("'pids.max' of the control group", fault.Message, StringComparison.Ordinal);
        Assert.Contains("VOLANT_CGROUP=off", fault.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("low 0\noom 1\noom_kill 1\noom_group_kill 1\n", true)]
    [InlineData("low 0\noom 0\noom_kill 0\n", false)]
    [InlineData("", false)]
    public void An_end_by_the_memory_killer_is_known(string events, bool expected)
    {
        _directory.File("memory.events", System.Text.Encoding.ASCII.GetBytes(events));

        Assert.Equal(expected, ResourceGroup.RanOutOfMemory(_directory.Path));
    }

    [Fact]
    public async Task Processes_are_in_a_real_group_and_go_with_it()
    {
        Assert.SkipUnless(EffectiveUser.Id == 0, "needs root");
        var mount = Directory.CreateDirectory(Path.Combine(_directory.Path, "groups")).FullName;
        try
        {
            Mounts.Mount("none", mount, "cgroup2");
        }
        catch (Win32Exception e)
        {
            Assert.Skip($"control groups of version 2 cannot be mounted: {e.Message}");
        }

        var parent = Path.Combine(mount, $"volant-test-{Environment.ProcessId}");
        try
        {
            var group = Path.Combine(parent, Guid.NewGuid().ToString("D"));
            ResourceGroup.Prepare(parent);
            ResourceGroup.Prepare(parent);
            Directory.CreateDirectory(group);
            ResourceGroup.Limit(group, Specs.Plain, overheadMib: 0);
            var pid = ProcessSpawner.Spawn(new SpawnRequest { Arguments = ["/bin/sleep", "100"] });
            ResourceGroup.Add(group, pid);
            Assert.Contains($"0::/{Path.GetFileName(parent)}/{Path.GetFileName(group)}\n", await File.ReadAllTextAsync($"/proc/{pid}/cgroup", Cancel), StringComparison.Ordinal);
            var ending = ProcessExitWatcher.WaitForChildAsync(pid, Signals.Kill, Cancel);

            await ResourceGroup.RemoveAsync(group);
            await ResourceGroup.RemoveAsync(group);

            Assert.Equal(Signals.Kill, (await ending).Signal);
            Assert.False(Directory.Exists(group));
        }
        finally
        {
            await ResourceGroup.RemoveAsync(parent);
            Mounts.Unmount(mount);
        }
    }

    private string Read(string name) => File.ReadAllText(Path.Combine(_directory.Path, name));
}
