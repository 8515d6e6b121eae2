using Volant.EndToEnd.Component;

namespace Volant.EndToEnd;

/// <summary>The package on a machine with a live systemd, control groups of version 2 and a KVM: <c>scripts/host-test.sh</c> (S15, S17).</summary>
public sealed class SystemdTests
{
    private static string Image => Path.Combine(Workspace.Root, ".cache", "debian", "root.img");

    [Fact]
    public async Task The_installed_service_runs_VMs_by_KVM_each_as_a_user_of_its_own_within_limits_and_its_restart_touches_none()
    {
        Assert.SkipUnless(File.Exists(Image), $"{Image} is missing: run scripts/debian-root.sh {Image}");
        Assert.SkipUnless(Environment.UserName == "root", "packing files that belong to several users needs root");
        string[] command = [Path.Combine(Workspace.Root, "scripts", "host-test.sh"), .. StandIn.Extent(1, 0) == 1 ? (string[])["--short"] : []];

        // Its own limit is shorter.
        var result = await Command.RunAsync(command, TimeSpan.FromMinutes(15));

        Assert.True(result.ExitCode == 0, result.ToString());
        TestContext.Current.TestOutputHelper?.WriteLine(result.Output);
    }
}
