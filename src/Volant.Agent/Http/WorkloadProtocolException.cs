namespace Volant.Agent.Http;

/// <summary>The workload's answer is not HTTP/1.1, or breaks a limit; the message says which rule.</summary>
internal sealed class WorkloadProtocolException(string message) : IOException(message);
