using System.Net;
using System.Net.Http.Headers;
using System.Text.Json;

namespace Volant.Cli.Api;

/// <summary>A whole answer of the daemon, its size already limited.</summary>
/// <param name="Status">HTTP status.</param>
/// <param name="Headers">Headers of the response.</param>
/// <param name="MediaType">Media type of the body, lower case; empty without one.</param>
/// <param name="Body">The body.</param>
internal sealed record Reply(HttpStatusCode Status, HttpResponseHeaders Headers, string MediaType, byte[] Body);

/// <summary>A value of the API, and the JSON it came from, which may hold members that this version does not know.</summary>
/// <typeparam name="T">Contract type.</typeparam>
/// <param name="Value">The value.</param>
/// <param name="Json">The JSON as sent.</param>
internal sealed record Answer<T>(T Value, JsonElement Json);
