using System.Globalization;
using Volant.Contracts.Api;

namespace Volant.Cli.Output;

/// <summary>How VMs are shown.</summary>
internal static class VmView
{
    /// <summary>A table of VMs, one row each.</summary>
    public static TextTable Table(IEnumerable<Vm> vms, TimeProvider clock)
    {
        var table = new TextTable("NAME", "STATUS", "READY", "PLUGIN", "IP", "CPU", "MEMORY", "AGE");
        foreach (var vm in vms)
        {
            table.Add(
                vm.Name,
                StatusOf(vm),
                vm.Ready ? "yes" : "no",
                vm.Plugin,
                vm.IpAddress,
                Number(vm.CpuCores),
                $"{Number(vm.MemoryMb)}MiB",
                Amounts.Age(clock.GetUtcNow() - vm.CreatedAt));
        }

        return table;
    }

    /// <summary>One VM in detail.</summary>
    public static TextTable Details(Vm vm, TimeProvider clock)
    {
        var table = new TextTable();
        table.Add("Name:", vm.Name);
        table.Add("Status:", StatusOf(vm));
        table.Add("Ready:", vm.Ready ? "yes" : "no");
        table.Add("Desired:", vm.Desired == DesiredState.Running ? "running" : "stopped");
        table.Add("Plugin:", vm.Plugin);
        table.Add("Runtime:", vm.Runtime);
        if (vm.Deployment is { } deployment)
        {
            table.Add("Deployment:", deployment);
        }

        table.Add("Hypervisor:", vm.Pid is { } pid ? $"{vm.Hypervisor} (process {Number(pid)})" : vm.Hypervisor);
        table.Add("CPU:", Number(vm.CpuCores));
        table.Add("Memory:", $"{Number(vm.MemoryMb)} MiB");
        table.Add("Network:", vm.NetworkMode);
        table.Add("IP:", vm.IpAddress);
        if (vm.Ipv6Address is { } ipv6)
        {
            table.Add("IPv6:", ipv6);
        }

        table.Add("MAC:", vm.MacAddress);
        table.Add("Vsock CID:", Number(vm.VsockCid));
        table.Add("Restarts:", Number(vm.Restarts));
        table.Add("Config version:", Number(vm.ConfigVersion));
        table.Add("Created:", When(vm.CreatedAt, clock));
        if (vm.StartedAt is { } started)
        {
            table.Add("Started:", When(started, clock));
        }

        if (vm.BootMs is { } boot)
        {
            table.Add("Boot to ready:", $"{Number(boot)} ms");
        }

        if (vm.Exit is { } exit)
        {
            table.Add("Last exit:", $"{exit.Reason} ({Outcome(exit)}{When(exit.At, clock)})");
        }

        if (vm.LastError is { } error)
        {
            table.Add("Last error:", new Cell(error, Paint.Red));
        }

        table.Add("UID:", vm.Uid.ToString());
        return table;
    }

    private static Cell StatusOf(Vm vm) => new(vm.Status.ToText(), vm.Status switch
    {
        VmStatus.Running => Paint.Green,
        VmStatus.Crashed => Paint.Red,
        VmStatus.Pending or VmStatus.Starting or VmStatus.Stopping => Paint.Yellow,
        _ => Paint.None,
    });

    private static string Outcome(VmExit exit) => exit switch
    {
        { Signal: { } signal } => $"signal {Number(signal)}, ",
        { Code: { } code } => $"code {Number(code)}, ",
        _ => string.Empty,
    };

    private static string When(DateTimeOffset moment, TimeProvider clock) =>
        $"{moment.UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", CultureInfo.InvariantCulture)} ({Amounts.Age(clock.GetUtcNow() - moment)} ago)";

    private static string Number(long number) => number.ToString(CultureInfo.InvariantCulture);
}
