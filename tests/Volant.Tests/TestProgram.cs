using Volant.Linux.Processes;

namespace Volant.Tests;

/// <summary>Programs that tests write and then run.</summary>
internal static class TestProgram
{
    /// <summary>Writes a program that everybody may run.</summary>
    /// <remarks>
    /// The kernel runs no file that somebody may still write to (ETXTBSY), and a process that another test is just starting has every descriptor of
    /// this one until it becomes another program. So the file itself is never opened here: a copy of it is made by a process that starts no other.
    /// </remarks>
    public static void Write(string path, string text)
    {
        var source = path + ".text";
        File.WriteAllText(source, text);
        var copy = ProcessWait.Reap(ProcessSpawner.Spawn(new SpawnRequest { Arguments = ["/usr/bin/install", "-m", "0755", source, path] }));
        File.Delete(source);
        Assert.True(copy is null or { ExitCode: 0 }, $"{copy}");
    }
}
