using Volant.Cli.Api;
using Volant.Cli.Output;
using Volant.Contracts.Api;

namespace Volant.Cli.Commands;

/// <summary>Prints VMs as the user asked for.</summary>
internal static class VmPrinting
{
    /// <summary>Prints several VMs: a table, or a JSON array.</summary>
    public static void Print(this CommandRun run, IReadOnlyList<Answer<Vm>> vms)
    {
        if (run.IsStructured)
        {
            run.Print(JsonPrinter.MakeArray(vms.Select(vm => vm.Json)));
            return;
        }

        if (run.Quiet)
        {
            run.PrintLines(vms.Select(vm => vm.Value.Name));
            return;
        }

        run.Print(VmView.Table(vms.Select(vm => vm.Value), run.Host.Clock));
    }

    /// <summary>Prints one VM as a table of one row, or its JSON.</summary>
    public static void PrintRow(this CommandRun run, Answer<Vm> vm)
    {
        if (run.IsStructured)
        {
            run.Print(vm.Json);
            return;
        }

        run.Print([vm]);
    }

    /// <summary>Prints one VM in detail, or its JSON.</summary>
    public static void Print(this CommandRun run, Answer<Vm> vm)
    {
        if (run.IsStructured)
        {
            run.Print(vm.Json);
            return;
        }

        run.Print(VmView.Details(vm.Value, run.Host.Clock));
    }
}
