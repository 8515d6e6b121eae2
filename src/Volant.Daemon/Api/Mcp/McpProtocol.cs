namespace Volant.Daemon.Api.Mcp;

/// <summary>The protocol's own handler of a message, made with the tools and their schemas by the first one: a daemon that no agent calls does not pay for them.</summary>
internal sealed class McpProtocol(IServiceProvider services)
{
    private readonly Lazy<RequestDelegate> _handler = new(() =>
    {
        var routes = new Routes(services);
        routes.MapMcp();
        return routes.DataSources.SelectMany(source => source.Endpoints).Single().RequestDelegate!;
    });

    /// <summary>Handles a request whose body is one message.</summary>
    public Task InvokeAsync(HttpContext context) => _handler.Value(context);

    private sealed class Routes(IServiceProvider services) : IEndpointRouteBuilder
    {
        public IServiceProvider ServiceProvider => services;

        public ICollection<EndpointDataSource> DataSources { get; } = [];

        public IApplicationBuilder CreateApplicationBuilder() => new ApplicationBuilder(services);
    }
}
