using Volant.Contracts.Api;
using Volant.Daemon;
using Volant.Daemon.Hypervisors.Qemu;
using Volant.Linux.Kernel;

namespace Volant.Tests.Hypervisors;

public sealed class QemuProbeTests : IDisposable
{
    private readonly TemporaryDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Theory]
    [InlineData("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)\nCopyright", "7.2.22")]
    [InlineData("QEMU emulator version 10.1\n", "10.1")]
    public void ParseVersion_reads_the_first_line(string output, string expected) =>
        Assert.Equal(Version.Parse(expected), QemuProbe.ParseVersion("q", output));

    [Theory]
    [InlineData("QEMU emulator version 7.1.0")]
    [InlineData("cloud-hypervisor v48.0")]
    [InlineData("")]
    public void ParseVersion_refuses_the_old_and_the_strange(string output)
    {
        var refusal = Assert.Throws<VolantException>(() => QemuProbe.ParseVersion("/opt/q", output));

        Assert.Equal(ErrorCodes.HypervisorUnavailable, refusal.Code);
        Assert.Contains("apt-get install qemu-system-x86", refusal.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void ParseTscKhz_takes_bogomips_as_twice_the_megahertz()
    {
        Assert.Equal(2096020, QemuProbe.ParseTscKhz("processor\t: 0\nbogomips\t: 4192.04\nprocessor\t: 1\nbogomips\t: 4192.04\n"));
        Assert.Null(QemuProbe.ParseTscKhz("processor\t: 0\n"));
    }

    [Theory]
    [InlineData("flags\t\t: fpu vme svm lm\nbogomips\t: 1.0\n", true)]
    [InlineData("model name\t: x\nflags\t\t: vmx\n", true)]
    [InlineData("flags\t\t: fpu vme lm\nbugs\t\t: svm\n", false)]
    [InlineData("flags\t\t: avx vmxoff\n", false)]
    [InlineData("", false)]
    public void The_device_of_KVM_counts_only_on_a_processor_that_virtualises(string cpuinfo, bool virtualises) =>
        Assert.Equal(virtualises, CpuFeatures.HaveVirtualisation(cpuinfo));

    [Theory]
    [InlineData("/nowhere/qemu-system-x86_64")]
    [InlineData("qemu-system-of-nobody")]
    public void Probe_names_the_remedy_when_the_program_is_missing(string program)
    {
        var refusal = Assert.Throws<VolantException>(() => QemuProbe.Probe(program));

        Assert.Equal(ErrorCodes.HypervisorUnavailable, refusal.Code);
        Assert.Contains(program, refusal.Message, StringComparison.Ordinal);
        Assert.Contains("apt-get install qemu-system-x86", refusal.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Probe_reads_what_a_program_prints()
    {
        var program = Path.Combine(_directory.Path, "qemu");
        TestProgram.Write(program, "#!/bin/sh\n[ \"$1\" = --version ] && echo 'QEMU emulator version 8.0.1'\n");
        File.SetUnixFileMode(program, UnixFileMode.UserRead);
        Assert.Throws<VolantException>(() => QemuProbe.Probe(program));

        File.SetUnixFileMode(program, UnixFileMode.UserRead | UnixFileMode.UserExecute);

        Assert.Equal((program, new Version(8, 0, 1)), (QemuProbe.Probe(program).Program, QemuProbe.Probe(program).Version));
    }
}
