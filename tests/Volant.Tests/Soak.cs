namespace Volant.Tests;

/// <summary>How hard the property tests try: little in every run, much with <c>VOLANT_SOAK=1</c>.</summary>
internal static class Soak
{
    /// <summary>Whether this is the long run.</summary>
    public static bool IsOn { get; } = Environment.GetEnvironmentVariable("VOLANT_SOAK") == "1";

    /// <summary>A number of tries.</summary>
    public static int Times(int usual, int soak) => IsOn ? soak : usual;

    /// <summary>An empty directory, in memory where the host has that: what is tested there does not depend on what a disk keeps.</summary>
    public static string CreateDirectory(string prefix)
    {
        var path = Path.Combine(Directory.Exists("/dev/shm") ? "/dev/shm" : Path.GetTempPath(), $"{prefix}{Guid.NewGuid():N}");
        return Directory.CreateDirectory(path).FullName;
    }
}
