using CsCheck;
using Volant.Contracts.Api;
using Volant.Daemon;
using Volant.Daemon.Hypervisors;
using Volant.Daemon.Hypervisors.Qemu;

namespace Volant.Tests.Hypervisors;

/// <summary>Reads command lines back with a parser of its own, and compares with what went in.</summary>
public sealed class QemuArgumentsPropertyTests
{
    private static readonly int Iterations = Soak.Times(5_000, 100_000);

    private static readonly HashSet<string> Flags = ["-nodefaults", "-no-user-config", "-no-reboot"];

    private static readonly Gen<string> Nasty = Gen.OneOf(
        Gen.OneOf(",", ",,", "=", "\n", "--", "-monitor", "-uuid", "-chardev", "'", "\"", " ", "\\", "id=qmp0", ",path=/x", "{", "ä", "."),
        Gen.Char.AlphaNumeric.Select(c => c.ToString())).Array[0, 12].Select(string.Concat);

    private static readonly Gen<LaunchSpec> Spec =
        from words in Nasty.Array[8]
        from disks in Gen.Select(Nasty, Gen.OneOf("raw", "qcow2"), Gen.Bool, Nasty).Array[0, 24]
        from nic in Gen.Bool
        from initramfs in Gen.Bool
        from cid in Gen.OneOf<long?>(null, 3, 4294967294)
        from devices in Nasty.Array[0, 2]
        select Specs.Plain with
        {
            Uid = Guid.NewGuid(),
            Kernel = "/" + words[0],
            Initramfs = initramfs ? words[1] : null,
            KernelArguments = words[2],
            Disks = [.. disks.Select(disk => new DiskSpec(disk.Item1, disk.Item2, disk.Item3, disk.Item4[..Math.Min(10, disk.Item4.Length)]))],
            Nic = nic ? new NicSpec(words[3], words[4]) : null,
            VsockCid = cid,
            PciDevices = devices,
            Paths = new VmPaths("/run/" + words[5], "/log/" + words[6]),
        };

    [Fact]
    public void No_value_can_become_an_option_or_change_another_value() => Spec.Sample(
        spec =>
        {
            try
            {
                return Holds(spec, QemuArguments.Build(spec, Specs.Emulated));
            }
            catch (VolantException e) when (e.Code is ErrorCodes.InvalidRequest or ErrorCodes.Unsupported)
            {
                return true;
            }
        },
        iter: Iterations);

    [Fact]
    public void Find_returns_what_Join_wrote() => Gen.Select(Nasty, Nasty).Sample(
        (a, b) => QemuOption.Find(QemuOption.Join("socket", ("id", a), ("path", b)), "path") == b &&
            QemuOption.Find(QemuOption.Join("socket", ("id", a), ("path", b)), "id") == a &&
            QemuOption.Find(QemuOption.Join("", ("id", a)), "path") is null,
        iter: Iterations);

    private static bool Holds(LaunchSpec spec, IReadOnlyList<string> arguments)
    {
        var options = Parse(arguments);
        Assert.Equal((spec.Uid, spec.Paths.ControlSocket), QemuIdentity.Read(arguments));
        Assert.Equal(spec.Kernel, Single("-kernel"));
        Assert.Equal(spec.Initramfs, options.Where(o => o.Name == "-initrd").Select(o => o.Value).SingleOrDefault());
        Assert.Equal(("tsc_early_khz=2096020 tsc=reliable " + spec.KernelArguments.Trim()).Trim(), Single("-append"));
        Assert.Equal(spec.Disks.Select(disk => disk.Path), Values("-blockdev", "file.filename"));
        Assert.Equal(spec.Disks.Select(disk => disk.Format), Values("-blockdev", "driver"));
        Assert.Equal(spec.Disks.Count(disk => disk.ReadOnly), Values("-blockdev", "read-only").Count(value => value == "on"));
        Assert.Equal(spec.Disks.Select(disk => disk.Serial), Values("-device", "serial"));
        Assert.Equal(spec.Nic is { } nic ? [nic.Tap] : [], Values("-netdev", "ifname"));
        Assert.Equal(spec.Nic is { } card ? [card.Mac] : [], Values("-device", "mac"));
        Assert.Equal(spec.PciDevices, Values("-device", "host"));
        Assert.Equal(
            spec.VsockCid is null
                ? [spec.Paths.ControlSocket, spec.Paths.SerialSocket, spec.Paths.AgentSocket]
                : [spec.Paths.ControlSocket, spec.Paths.SerialSocket],
            Values("-chardev", "path"));
        Assert.Equal([spec.Paths.ConsoleLog], Values("-chardev", "logfile"));

        // Nothing more than the same machine has with harmless values.
        var harmless = Parse(QemuArguments.Build(
            spec with
            {
                Kernel = "k",
                Initramfs = spec.Initramfs is null ? null : "i",
                KernelArguments = "a",
                Disks = [.. spec.Disks.Select(disk => disk with { Path = "p", Serial = "s" })],
                Nic = spec.Nic is null ? null : new NicSpec("t", "m"),
                PciDevices = [.. spec.PciDevices.Select(_ => "d")],
                Paths = Specs.Plain.Paths,
            },
            Specs.Emulated));
        Assert.Equal(
            harmless.Select(option => (option.Name, Keys(option))),
            options.Select(option => (option.Name, Keys(option))));
        return true;

        string Single(string name) => options.Single(option => option.Name == name).Value;

        string[] Values(string name, string key) =>
            [.. options.Where(option => option.Name == name).SelectMany(option => Split(option.Value)).Where(part => part.Key == key).Select(part => part.Value)];
    }

    /// <summary>Keys of an option string; the arguments of three options are none.</summary>
    private static string Keys((string Name, string Value) option) =>
        option.Name is "-kernel" or "-initrd" or "-append" ? string.Empty : string.Join(',', Split(option.Value).Select(part => part.Key));

    private static List<(string Name, string Value)> Parse(IReadOnlyList<string> arguments)
    {
        var options = new List<(string, string)>();
        for (var i = 1; i < arguments.Count; i++)
        {
            Assert.StartsWith("-", arguments[i], StringComparison.Ordinal);
            options.Add((arguments[i], Flags.Contains(arguments[i]) ? string.Empty : arguments[++i]));
        }

        return options;
    }

    private static IEnumerable<(string Key, string Value)> Split(string text)
    {
        // A private-use character stands for a doubled comma; pairs are counted from the left, as QEMU does.
        foreach (var part in text.Replace(",,", "\uE000", StringComparison.Ordinal).Split(','))
        {
            var equals = part.IndexOf('=', StringComparison.Ordinal);
            yield return equals < 0
                ? (part, string.Empty)
                : (part[..equals], part[(equals + 1)..].Replace('\uE000', ','));
        }
    }
}
