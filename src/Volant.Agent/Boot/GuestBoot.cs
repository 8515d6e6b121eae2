using System.ComponentModel;
using Volant.Contracts.Boot;
using Volant.Linux.Kernel;

namespace Volant.Agent.Boot;

/// <summary>Brings the guest up, from the kernel's hand-over to the point where the workload can start. For PID 1 only.</summary>
internal sealed class GuestBoot(ConsoleLog console, TimeProvider clock)
{
    private const string CommandLineFile = "/proc/cmdline";

    /// <summary>Boots. With a root disk it ends by running the agent again on that disk.</summary>
    /// <param name="problems">What went wrong without keeping the guest from going on is added, one sentence each.</param>
    /// <exception cref="BootFailedException">The root disk that was asked for cannot be had.</exception>
    public async Task<BootPlan> RunAsync(List<string> problems)
    {
        var plan = BootPlan.Read(ReadCommandLine());
        if (RootSwitch.IsDone)
        {
            problems.AddRange(RootSwitch.TakeProblems());
        }
        else
        {
            problems.AddRange(plan.Problems);
            problems.AddRange(ModuleLoader.OfThisKernel.LoadDrivers(KernelVersion.Release, GuestModules.Drivers, new DeviceAliases()));
            await EnterRootAsync(plan, problems);
        }

        problems.AddRange(EarlyMounts.MountRest());
        Try(() => HostName.Set(plan.Hostname), problems);
        Try(MachinePower.DisableCtrlAltDel, problems);
        await SetUpNetworkAsync(plan, problems);
        var files = new GuestFiles();
        files.WriteHosts(plan.Hostname);
        files.WriteResolver(plan.NameServers);
        return RootSwitch.IsDone ? plan with { ManifestFile = RootSwitch.ManifestFile } : plan;
    }

    /// <summary>Reads without waiting: the machinery of asynchronous files costs an emulated processor 60 ms the first time, and nothing else runs yet.</summary>
    private static string ReadCommandLine() => File.ReadAllText(CommandLineFile);

    private static IReadOnlyList<string> Load(IReadOnlyList<string> modules) => ModuleLoader.OfThisKernel.Load(KernelVersion.Release, modules);

    private async Task EnterRootAsync(BootPlan plan, List<string> problems)
    {
        // A kernel that mounted the root disk itself has done this work.
        if (plan.Root is { } root && FileSystems.IsInMemory("/"))
        {
            var mounted = await new RootDisk(root, Load, console, clock).MountAsync(CancellationToken.None);
            console.Flush(TimeSpan.FromSeconds(1));
            RootSwitch.Enter(mounted, plan.Manifest == BootKeys.InInitrd ? plan.ManifestFile : null, problems);
        }
    }

    private async Task SetUpNetworkAsync(BootPlan plan, List<string> problems)
    {
        if (GuestNetwork.SetUpLoopback() is { } loopback)
        {
            problems.Add(loopback);
        }

        if (plan.Network is { Dhcp: false } network && await new GuestNetwork(clock).ApplyAsync(network, CancellationToken.None) is { } problem)
        {
            problems.Add(problem);
        }

        if (plan.NetworkV6 is { } ipv6 && await new GuestNetwork(clock).ApplyAsync(ipv6, CancellationToken.None) is { } fault)
        {
            problems.Add(fault);
        }
    }

    /// <summary>Does what a guest can live without.</summary>
    private static void Try(Action action, List<string> problems)
    {
        try
        {
            action();
        }
        catch (Win32Exception e)
        {
            problems.Add($"{e.Message}.");
        }
    }
}
