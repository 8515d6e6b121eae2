using System.Text;
using Volant.Agent.Boot;
using Volant.Agent.Power;
using Volant.Contracts.Boot;
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

    private static readonly TimeSpan ConsoleTime = TimeSpan.FromSeconds(1);

    private static async Task<int> Main()
    {
        var isInit = Environment.ProcessId == 1;
        var problems = new List<string>();
        if (isInit)
        {
            problems.AddRange(EarlyMounts.MountFirst());
            OpenConsole(problems);
        }

        using var console = new ConsoleLog(static line => StandardOutput.Write(line));
        var isUp = false;
        AppDomain.CurrentDomain.UnhandledException += (_, e) => Die(console, isInit, isUp, e.ExceptionObject);
        try
        {
            var plan = isInit
                ? await new GuestBoot(console, TimeProvider.System).RunAsync(problems)
                : BootPlan.Read(Environment.GetEnvironmentVariable(LineVariable) ?? await File.ReadAllTextAsync("/proc/cmdline"));
            isUp = true;
            using var agent = new GuestAgent(plan, isInit, console, TimeProvider.System);
            var action = await agent.RunAsync(isInit ? problems : plan.Problems);
            if (isInit)
            {
                await Shutdown.OrderlyAsync(action, console, TimeProvider.System);
            }

            return 0;
        }
        catch (Exception e)
        {
            Die(console, isInit, isUp, e);
            return 1;
        }
    }

    private static void OpenConsole(List<string> problems)
    {
        try
        {
            ConsoleDevice.Redirect("/dev/console");
        }
        catch (System.ComponentModel.Win32Exception e)
        {
            problems.Add($"{e.Message}.");
        }
    }

    private static void Die(ConsoleLog console, bool isInit, bool isUp, object fault)
    {
        // The host looks for the line of a boot that failed; nobody else could tell it.
        var text = isUp ? $"kestrel: FATAL {fault}".ReplaceLineEndings(" | ") : BootFailure.Line(fault is BootFailedException e ? e.Message : $"{fault}");
        console.Write(Encoding.UTF8.GetBytes(text + "\n"));
        console.Flush(ConsoleTime);
        if (isInit)
        {
            Shutdown.Now(PowerAction.Off);
        }
    }
}
