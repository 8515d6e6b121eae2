using System.ComponentModel;
using System.ComponentModel.DataAnnotations;
using System.Text.Json.Nodes;
using ModelContextProtocol.Server;
using Volant.Contracts;
using Volant.Contracts.Api;
using Volant.Daemon.Orchestration;
using Volant.Daemon.Orchestration.Deployments;
using Volant.Daemon.Store;

namespace Volant.Daemon.Api.Mcp;

/// <summary>Tools for deployments.</summary>
[McpServerToolType]
internal sealed class DeploymentTools(VolantStore store, DeploymentController controller)
{
    private const string NameOfDeployment = "Name of the deployment.";

    [McpServerTool(Name = "list_deployments", Title = "List deployments", ReadOnly = true, OpenWorld = false, UseStructuredContent = true)]
    [Description("Lists deployments by name. A deployment keeps a number of equal VMs running, its replicas, and replaces those that fail; they are VMs named NAME-1, NAME-2 and so on.")]
    public DeploymentListing List(
        [Description("Most deployments to return."), Range(1, 200)] int limit = 50,
        [Description("Deployments to skip; next_offset of the page before."), Range(0, int.MaxValue)] int offset = 0)
    {
        var (deployments, total) = store.ListDeployments(limit, offset);
        return new DeploymentListing { Deployments = [.. deployments.Select(DeploymentDetails.Of)], Total = total, NextOffset = Pages.Next(offset, deployments.Count, total) };
    }

    [McpServerTool(Name = "get_deployment", Title = "Get a deployment", ReadOnly = true, OpenWorld = false, UseStructuredContent = true)]
    [Description("Tells how a deployment is: 'progressing', 'healthy' or 'degraded' with the reason, and how many of its replicas are ready.")]
    public DeploymentDetails Get([Description(NameOfDeployment), StringLength(Names.MaxLength)] string name) =>
        DeploymentDetails.Of(store.FindDeployment(name) ?? throw VolantStore.NoDeployment(name));

    [McpServerTool(Name = "create_deployment", Title = "Create a deployment", Destructive = false, Idempotent = false, OpenWorld = false, UseStructuredContent = true)]
    [Description("Creates a deployment. Answers at once; its VMs are made from then on, and get_deployment tells when all of them are ready.")]
    public async Task<DeploymentDetails> CreateAsync(
        [Description("A new name: lower-case letters, digits and inner hyphens, at most 56."), StringLength(Names.MaxLength)] string name,
        [Description("An installed and enabled plugin; see list_plugins."), StringLength(Names.MaxLength)] string plugin,
        [Description("How many VMs."), Range(0, DeploymentRules.MaxReplicas)] int replicas = 1,
        [Description("Virtual CPUs of each; the plugin's default when absent.")] int? cpu_cores = null,
        [Description("Memory of each in MiB; the plugin's default when absent.")] int? memory_mb = null,
        [Description(ToolConfig.Description)] JsonObject? config = null,
        CancellationToken cancellationToken = default)
    {
        var each = LaunchPlan.Merge(new CreateVmRequest { Plugin = plugin, CpuCores = cpu_cores, MemoryMb = memory_mb, Config = ToolConfig.Read(config) });
        return DeploymentDetails.Of(await controller.CreateAsync(new CreateDeploymentRequest { Name = name, Replicas = replicas, Config = each }, cancellationToken));
    }

    [McpServerTool(Name = "scale_deployment", Title = "Scale a deployment", Destructive = true, Idempotent = true, OpenWorld = false, UseStructuredContent = true)]
    [Description("Changes how many replicas a deployment has. With fewer, those with the highest numbers are deleted with all that they own. Answers at once; get_deployment tells when it is done.")]
    public async Task<DeploymentDetails> ScaleAsync(
        [Description(NameOfDeployment), StringLength(Names.MaxLength)] string name,
        [Description("How many VMs from now on."), Range(0, DeploymentRules.MaxReplicas)] int replicas,
        CancellationToken cancellationToken = default) =>
        DeploymentDetails.Of(await controller.ChangeAsync(name, _ => true, new UpdateDeploymentRequest { Replicas = replicas }, cancellationToken));

    [McpServerTool(Name = "delete_deployment", Title = "Delete a deployment", Destructive = true, Idempotent = true, OpenWorld = false, UseStructuredContent = true)]
    [Description("Deletes a deployment and all of its VMs with all that they own. This cannot be undone.")]
    public async Task<DeletedThing> DeleteAsync([Description(NameOfDeployment), StringLength(Names.MaxLength)] string name, CancellationToken cancellationToken = default)
    {
        await controller.DeleteAsync(name, cancellationToken);
        return new DeletedThing { Deleted = name };
    }
}
