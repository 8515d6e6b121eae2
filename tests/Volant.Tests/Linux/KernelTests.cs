using System.ComponentModel;
using System.Runtime.CompilerServices;
using System.Text;
using Volant.Linux;
using Volant.Linux.Kernel;

namespace Volant.Tests.Linux;

public sealed class KernelTests
{
    [Fact]
    public void Structures_have_the_sizes_of_the_kernel()
    {
        Assert.Equal(390, Unsafe.SizeOf<KernelVersion.UnameBuffer>());
        Assert.Equal(16, Unsafe.SizeOf<SystemClock.TimeSpec>());
        Assert.Equal(16, Unsafe.SizeOf<ProcessLimits.ResourceLimit>());
    }

    [Fact]
    public void Commands_of_reboot_are_those_of_the_kernel()
    {
        Assert.Equal(0x4321fedcu, MachinePower.PowerOffCommand);
        Assert.Equal(0x01234567u, MachinePower.RestartCommand);
        Assert.Equal(0u, MachinePower.CtrlAltDelOff);
    }

    [Fact]
    public void The_release_is_that_of_proc()
    {
        Assert.Equal(File.ReadAllText("/proc/sys/kernel/osrelease").Trim(), KernelVersion.Release);
        Assert.NotEmpty(KernelVersion.Machine);
    }

    [Fact]
    public void Random_bytes_differ_and_fill_long_buffers()
    {
        var first = new byte[1 << 20];
        var second = new byte[1 << 20];

        KernelRandom.Fill(first);
        KernelRandom.Fill(second);
        KernelRandom.Fill([]);

        Assert.NotEqual(first, second);
        Assert.False(first.AsSpan()[^64..].IndexOfAnyExcept((byte)0) < 0);
    }

    [Fact]
    public void The_mount_table_is_read_with_its_escapes()
    {
        var mounts = MountTable.Parse("/dev/vda / ext4 rw,relatime 0 0\n/dev/vdb /a\\040b\\134\\303\\251 xfs ro 0 0\nnone\n/x /\\9 ext4 rw,errors=remount-ro 0 0\n");

        Assert.Equal([new("/dev/vda", "/", "ext4", false), new("/dev/vdb", "/a b\\é", "xfs", true), new("/x", "/\\9", "ext4", false)], mounts);
        Assert.Contains(MountTable.Read(), mount => mount.Target == "/");
    }

    [Fact]
    public void A_file_system_in_memory_is_known()
    {
        Assert.False(FileSystems.IsInMemory("/proc"));
        Assert.Throws<Win32Exception>(() => FileSystems.IsInMemory("/no/such/path"));
        NetworkNamespace.Run(NamespaceKinds.Mount, () =>
        {
            using var directory = new TemporaryDirectory();
            Mounts.Mount(null, "/", null, MountOptions.Private | MountOptions.Recursive);
            Mounts.Mount("test", directory.Path, "tmpfs");
            Assert.True(FileSystems.IsInMemory(directory.Path));
            Mounts.Unmount(directory.Path);
        });
    }

    [Fact]
    public void A_seed_is_mixed_in_by_root_alone()
    {
        Assert.Throws<ArgumentOutOfRangeException>(() => KernelRandom.Mix([]));
        Assert.Throws<ArgumentOutOfRangeException>(() => KernelRandom.Mix(new byte[KernelRandom.MaxSeed + 1]));
        NetworkNamespace.Run(() =>
        {
            KernelRandom.Mix(new byte[KernelRandom.MaxSeed]);
            NetworkNamespace.DropCapabilities();

            Assert.Equal(Errno.NotPermitted, Assert.Throws<Win32Exception>(() => KernelRandom.Mix([1])).NativeErrorCode);
        });
    }

    [Theory]
    [InlineData("1970-01-01T00:00:01.5Z", 1, 500_000_000)]
    [InlineData("2026-07-08T12:00:00.1234567Z", 1783512000, 123_456_700)]
    [InlineData("1969-12-31T23:59:59.9Z", -1, 900_000_000)]
    public void A_time_is_seconds_and_nanoseconds(string text, long seconds, long nanoseconds)
    {
        var time = SystemClock.ToTimeSpec(DateTimeOffset.Parse(text));

        Assert.Equal((seconds, nanoseconds), (time.Seconds, time.Nanoseconds));
    }

    [Fact]
    public void A_time_before_1970_is_refused() =>
        Assert.Throws<Win32Exception>(() => SystemClock.Set(DateTimeOffset.UnixEpoch.AddDays(-1)));

    [Fact]
    public void A_pipe_carries_bytes_and_is_closed_on_exec()
    {
        var (read, write) = Pipes.Create();
        using (read)
        using (write)
        {
            using var writer = new FileStream(write, FileAccess.Write, 0);
            using var reader = new FileStream(read, FileAccess.Read, 0);
            writer.Write("hello"u8);
            var buffer = new byte[5];
            reader.ReadExactly(buffer);

            Assert.Equal("hello", Encoding.ASCII.GetString(buffer));
            Assert.Contains("flags:\t02000001", File.ReadAllText($"/proc/self/fdinfo/{write.DangerousGetHandle()}"), StringComparison.Ordinal);
        }
    }

    [Fact]
    public void The_soft_limit_of_open_files_never_falls()
    {
        var limit = ProcessLimits.RaiseOpenFiles(1);

        Assert.InRange(limit, 2, long.MaxValue);
        Assert.True(ProcessLimits.RaiseOpenFiles() >= limit);
        Assert.Matches($@"Max open files\s+{ProcessLimits.RaiseOpenFiles()}\s", File.ReadAllText("/proc/self/limits"));
    }

    [Fact]
    public void The_file_mode_mask_can_be_set_and_restored()
    {
        var mask = UnixFileMode.GroupWrite | UnixFileMode.OtherWrite | UnixFileMode.OtherRead;

        var before = ProcessLimits.SetFileModeMask(mask);

        Assert.Equal(mask, ProcessLimits.SetFileModeMask(before));
    }

    [Fact]
    public void Signal_zero_tells_whether_a_process_exists()
    {
        Assert.True(Signals.Send(Environment.ProcessId, 0));
        Assert.False(Signals.Send(int.MaxValue, 0));
        Assert.Equal(Errno.Invalid, Assert.Throws<Win32Exception>(() => Signals.Send(Environment.ProcessId, 1000)).NativeErrorCode);
    }

    [Fact]
    public void Ids_that_mean_more_than_one_process_are_refused()
    {
        Assert.Throws<ArgumentOutOfRangeException>(() => Signals.Send(0, 0));
        Assert.Throws<ArgumentOutOfRangeException>(() => Signals.Send(-1, 0));
        Assert.Throws<ArgumentOutOfRangeException>(() => Signals.SendToGroup(1, 0));
        Assert.Throws<InvalidOperationException>(() => Signals.SendToAll(0));
    }

    [Fact]
    public void A_missing_module_or_one_that_is_none_is_an_error()
    {
        using var directory = new TemporaryDirectory();
        File.WriteAllText(directory["none.ko"], "not a module");

        Assert.Equal(Errno.NoEntry, Assert.Throws<Win32Exception>(() => KernelModule.Load(directory["missing.ko"])).NativeErrorCode);
        Assert.Contains("none.ko", Assert.Throws<Win32Exception>(() => KernelModule.Load(directory["none.ko"])).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Redirecting_to_a_device_that_does_not_exist_changes_nothing() =>
        Assert.Equal(Errno.NoEntry, Assert.Throws<Win32Exception>(() => ConsoleDevice.Redirect("/dev/no-such-console")).NativeErrorCode);

    [Fact]
    public void The_host_name_is_set_in_this_namespace() => NetworkNamespace.Run(NamespaceKinds.HostName, () =>
    {
        HostName.Set("volant-test");

        Assert.Equal("volant-test", File.ReadAllText("/proc/sys/kernel/hostname").Trim());
        Assert.Throws<Win32Exception>(() => HostName.Set(new string('a', HostName.MaxLength + 1)));
    });

    [Fact]
    public void File_systems_are_mounted_moved_and_unmounted() => NetworkNamespace.Run(NamespaceKinds.Mount, () =>
    {
        using var directory = new TemporaryDirectory();
        var (first, second) = (directory["first"], directory["second"]);
        Directory.CreateDirectory(first);
        Directory.CreateDirectory(second);
        Mounts.Mount(null, "/", null, MountOptions.Private | MountOptions.Recursive);

        Mounts.Mount("test", first, "tmpfs", MountOptions.NoSetUserId | MountOptions.NoDevices | MountOptions.NoExecute, "size=1m,mode=0700");
        File.WriteAllText(Path.Combine(first, "file"), "here");
        Mounts.Move(first, second);

        Assert.Empty(Directory.GetFiles(first));
        Assert.Equal("here", File.ReadAllText(Path.Combine(second, "file")));
        Assert.Matches($@"{second} rw,nosuid,nodev,noexec,.*- tmpfs test rw,size=1024k,mode=700", File.ReadAllText("/proc/thread-self/mountinfo"));

        Mounts.Mount(second, first, null, MountOptions.Bind);
        Mounts.Mount(null, first, null, MountOptions.Bind | MountOptions.Remount | MountOptions.ReadOnly);
        Assert.Throws<IOException>(() => File.WriteAllText(Path.Combine(first, "file"), "changed"));

        FileSystems.Sync();
        Mounts.Unmount(first);
        Mounts.Unmount(second, UnmountOptions.Detach | UnmountOptions.NoFollow);
        Assert.Equal(Errno.Invalid, Assert.Throws<Win32Exception>(() => Mounts.Unmount(second)).NativeErrorCode);
        Assert.Equal(Errno.NoDevice, Assert.Throws<Win32Exception>(() => Mounts.Mount("x", first, "nosuchfs")).NativeErrorCode);
    });
}
