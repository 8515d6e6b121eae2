using Volant.Agent.Commands;
using Volant.Contracts.Manifests;
using Volant.Linux.Kernel;
using Volant.Linux.Processes;

namespace Volant.Agent.Workloads;

/// <summary>What to run.</summary>
/// <param name="Entrypoint">Program and arguments.</param>
/// <param name="WorkingDirectory">Absolute directory.</param>
/// <param name="Environment">The whole environment.</param>
internal sealed record WorkloadCommand(IReadOnlyList<string> Entrypoint, string WorkingDirectory, IReadOnlyList<string> Environment)
{
    /// <summary>Where programs are looked for.</summary>
    public const string DefaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

    /// <summary>Whose rights it has; root's when null.</summary>
    public ProcessUser? User { get; init; }

    /// <summary>The command of a valid manifest; its own variables win over the basic ones.</summary>
    /// <exception cref="FormatException">There is no workload, or its user does not exist.</exception>
    public static WorkloadCommand From(PluginManifest manifest, UserDatabase users)
    {
        var workload = manifest.Workload ?? throw new FormatException("The manifest has no workload.");
        var user = workload.User is { } name ? users.Find(name) : null;
        var variables = new Dictionary<string, string>(StringComparer.Ordinal)
        {
            ["PATH"] = DefaultPath,
            ["HOME"] = (user ?? GuestUser.Root).Home,
            ["VOLANT_PLUGIN"] = manifest.Name ?? string.Empty,
            ["VOLANT_RUNTIME"] = manifest.Runtime ?? string.Empty,
            ["VOLANT_VERSION"] = manifest.Version ?? string.Empty,
        };
        if (user is not null)
        {
            (variables["USER"], variables["LOGNAME"]) = (user.Name, user.Name);
        }

        foreach (var (key, value) in workload.Env ?? new Dictionary<string, string>(StringComparer.Ordinal))
        {
            variables[key] = value;
        }

        return new WorkloadCommand(workload.Entrypoint ?? [], workload.Workdir ?? "/", [.. variables.Select(v => $"{v.Key}={v.Value}")]) { User = user?.Rights };
    }

    /// <summary>Runs another program in its place, as the workload's health check; null when it exits with 0, else what it did.</summary>
    public async Task<string?> CheckAsync(IReadOnlyList<string> arguments, ChildReaper reaper, CancellationToken cancellationToken)
    {
        Child child;
        try
        {
            child = reaper.Spawn(new SpawnRequest { Arguments = arguments, Environment = Environment, WorkingDirectory = WorkingDirectory, User = User });
        }
        catch (Exception e) when (e is System.ComponentModel.Win32Exception or ArgumentException)
        {
            return $"could not be started: {e.Message}";
        }

        try
        {
            var (code, signal) = RunningCommand.CodeOf(await child.WaitForExitAsync().WaitAsync(cancellationToken));
            return code == 0 ? null : signal is { } by ? $"was ended by signal {by}" : $"exited with code {code}";
        }
        catch (OperationCanceledException)
        {
            child.Signal(Signals.Kill);
            throw;
        }
    }
}
