using System.Globalization;
using System.Runtime.InteropServices;

namespace Volant.Linux.Processes;

/// <summary>Whose rights this process has.</summary>
public static partial class EffectiveUser
{
    /// <summary>The user id that files are created with (<c>geteuid(2)</c>).</summary>
    public static uint Id => GetId();

    /// <summary>Whether this process has all of these rights, as root or as the user of a service that was given them (<c>proc(5)</c>, <c>CapEff</c>).</summary>
    public static bool Has(params IEnumerable<Capability> rights)
    {
        const string Field = "CapEff:";
        var line = File.ReadLines("/proc/self/status").First(line => line.StartsWith(Field, StringComparison.Ordinal));
        var effective = ulong.Parse(line.AsSpan(Field.Length).Trim(), NumberStyles.HexNumber, CultureInfo.InvariantCulture);
        return rights.All(right => (effective & (1UL << (int)right)) != 0);
    }

    [LibraryImport("libc", EntryPoint = "geteuid")]
    private static partial uint GetId();
}
