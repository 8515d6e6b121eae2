using System.ComponentModel;
using System.Globalization;
using Volant.Linux.IO;
using Volant.Linux.Processes;

namespace Volant.Daemon;

/// <summary>Makes the directories that the daemon writes to, and refuses one where another user could have put links in its way.</summary>
internal static class OwnDirectories
{
    private const int WritableByOthers = 0b000_010_010;
    private const int WritableByAll = 0b000_000_010;
    private const int MaxLinks = 40; // as the kernel (MAXSYMLINKS)
    private const int Sticky = 0b001_000_000_000;

    /// <summary>Checks those of the settings.</summary>
    /// <exception cref="ConfigurationException">One belongs to another user, or another user can write to it.</exception>
    public static void Prepare(DaemonOptions options)
    {
        Prepare("VOLANT_DB_PATH", options.StateDirectory);
        Prepare("VOLANT_RUNTIME_DIR", options.RuntimeDirectory);
        Prepare("VOLANT_LOG_DIR", options.LogDirectory);
    }

    private static void Prepare(string variable, string path)
    {
        string? fault;
        try
        {
            // Before anything is made: it would be made where a planted link leads.
            var present = path;
            while (LinkStatus.Find(present) is null)
            {
                present = Path.GetDirectoryName(present)!;
            }

            fault = Fault(present, present == path ? WritableByOthers : WritableByAll, MaxLinks);
            if (fault is null && present != path)
            {
                Directory.CreateDirectory(path);
                fault = Fault(path, WritableByOthers, MaxLinks);
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or Win32Exception)
        {
            fault = $"cannot be made ({e.Message})";
        }

        if (fault is not null)
        {
            throw new ConfigurationException($"{variable}: '{path}' {fault}; expected a directory of this user that nobody else can write to.");
        }
    }

    /// <summary>What is wrong with a directory, or with a link to it; null when nothing is.</summary>
    private static string? Fault(string path, int forbiddenToOthers, int links)
    {
        for (var at = path; at is not null; at = Path.GetDirectoryName(at))
        {
            if (links == 0 || LinkStatus.Find(at) is not { } status)
            {
                return "leads nowhere";
            }

            if (status.Uid != 0 && status.Uid != EffectiveUser.Id)
            {
                return string.Create(CultureInfo.InvariantCulture, $"lies at '{at}', which belongs to user {status.Uid}");
            }

            if (status.Kind == LinkKind.SymbolicLink)
            {
                return Fault(Path.GetFullPath(new FileInfo(at).LinkTarget!, Path.GetDirectoryName(at)!) + path[at.Length..], forbiddenToOthers, links - 1);
            }

            // Who can write to the directory can put anything there; who can write to one above it can put another in its place.
            var forbidden = at == path && forbiddenToOthers == WritableByOthers ? WritableByOthers : (status.Mode & Sticky) == 0 ? WritableByAll : 0;
            if ((status.Mode & forbidden) != 0)
            {
                return string.Create(CultureInfo.InvariantCulture, $"lies at '{at}', which others can write to (mode {Convert.ToString(status.Mode, 8)})");
            }
        }

        return null;
    }
}
