using System.Globalization;
using Microsoft.Net.Http.Headers;
using Volant.Contracts.Api;
using Volant.Daemon.Store;

namespace Volant.Daemon.Api;

/// <summary>Strong entity tags and <c>If-Match</c> (RFC 9110, sections 8.8.3 and 13.1.1).</summary>
internal static class ETags
{
    /// <summary>Tag of a VM: its record's revision.</summary>
    public static string Of(VmRecord vm) => string.Create(CultureInfo.InvariantCulture, $"\"{vm.Id}.{vm.Revision}\"");

    /// <summary>Tag of a numbered version.</summary>
    public static string Of(int version) => string.Create(CultureInfo.InvariantCulture, $"\"{version}\"");

    /// <summary>Whether a request may change what has this tag: no <c>If-Match</c>, <c>*</c>, or the tag is listed.</summary>
    public static bool Matches(HttpRequest request, string tag)
    {
        if (request.Headers.IfMatch.Count == 0)
        {
            return true;
        }

        // What cannot be read matches nothing: the change is refused, which is the safe side.
        return EntityTagHeaderValue.TryParseList([.. request.Headers.IfMatch.OfType<string>()], out var wanted) &&
            wanted.Any(one => one.Equals(EntityTagHeaderValue.Any) || (!one.IsWeak && one.Tag == tag));
    }

    /// <summary>Refuses a change of a VM that is not the one the caller has seen; null without <c>If-Match</c>.</summary>
    public static Action<VmRecord>? Precondition(HttpRequest request)
    {
        if (request.Headers.IfMatch.Count == 0)
        {
            return null;
        }

        // The request may be gone when its turn comes, so the header is kept.
        var wanted = new DefaultHttpContext().Request;
        wanted.Headers.IfMatch = request.Headers.IfMatch;
        return vm =>
        {
            if (!Matches(wanted, Of(vm)))
            {
                throw new VolantException(ErrorCodes.VersionConflict, $"VM '{vm.Name}' has changed since it was read (it is {Of(vm)} by now); read it again.");
            }
        };
    }
}
