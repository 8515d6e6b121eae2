namespace Volant.Agent.Boot;

/// <summary>The guest cannot go on as the boot asks; the message says why and what to do.</summary>
internal sealed class BootFailedException(string message, Exception? cause = null) : Exception(message, cause);
