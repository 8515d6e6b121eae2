using Volant.Agent.Boot;
using Volant.Agent.Power;
using Volant.Linux.Kernel;

namespace Volant.Agent;

/// <summary>kestrel: the init process of a guest.</summary>
/// <remarks>
/// As PID 1 it never returns and never throws: it says why on the console, writes the disks and switches the machine off. Started in any
/// other way, for development, it leaves the machine alone, reads the boot line from <see cref="LineVariable"/> and ends like any program.
/// </remarks>
internal static class Program
{
    /// <summary>Environment variable that replaces /proc/cmdline when the agent is not PID 1.</summary>
    public const string LineVariable = "KESTREL_CMDLINE";

    private const string CommandLineFile = "/proc/cmdline";

    private static async Task<int> Main()
    {
        var isInit = Environment.ProcessId == 1;
        var problems = new List<string>();
        if (isInit)
        {
            problems.AddRange(EarlyMounts.MountFirst());
            problems.AddRange(Try(() => ConsoleDevice.Redirect("/dev/console")) is { } problem ? [problem] : []);
        }

        using var console = new ConsoleLog(static line => StandardOutput.Write(line));
        AppDomain.CurrentDomain.UnhandledException += (_, e) => Die(console, isInit, e.ExceptionObject);
        try
        {
            var plan = await BootAsync(isInit, problems);
            using var agent = new GuestAgent(plan, isInit, console, TimeProvider.System);
            var action = await agent.RunAsync(problems);
            if (isInit)
            {
                await Shutdown.OrderlyAsync(action, console, TimeProvider.System);
            }

            return 0;
        }
        catch (Exception e)
        {
            Die(console, isInit, e);
            return 1;
        }
    }

    private static async Task<BootPlan> BootAsync(bool isInit, List<string> problems)
    {
        var line = isInit ? null : Environment.GetEnvironmentVariable(LineVariable);
        var plan = BootPlan.Read(line ?? await File.ReadAllTextAsync(CommandLineFile));
        problems.AddRange(plan.Problems);
        if (!isInit)
        {
            return plan;
        }

        problems.AddRange(EarlyMounts.MountRest());
        problems.AddRange(ModuleLoader.OfThisKernel.LoadEssential(KernelVersion.Release));
        Note(Try(() => HostName.Set(plan.Hostname)));
        Note(Try(MachinePower.DisableCtrlAltDel));
        Note(GuestNetwork.SetUpLoopback());
        if (plan.Network is { } network)
        {
            Note(await new GuestNetwork(TimeProvider.System).ApplyAsync(network, CancellationToken.None));
        }

        GuestNetwork.WriteResolver(plan.NameServers);
        return plan;

        void Note(string? problem)
        {
            if (problem is not null)
            {
                problems.Add(problem);
            }
        }
    }

    /// <summary>Does what a guest can live without; returns what went wrong.</summary>
    private static string? Try(Action action)
    {
        try
        {
            action();
            return null;
        }
        catch (System.ComponentModel.Win32Exception e)
        {
            return $"{e.Message}.";
        }
    }

    private static void Die(ConsoleLog console, bool isInit, object fault)
    {
        console.Say($"FATAL {fault}".ReplaceLineEndings(" | "));
        console.Flush(TimeSpan.FromSeconds(1));
        if (isInit)
        {
            Shutdown.Now(PowerAction.Off);
        }
    }
}
