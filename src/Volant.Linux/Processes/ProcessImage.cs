using System.ComponentModel;
using System.Diagnostics.CodeAnalysis;
using System.Runtime.InteropServices;

namespace Volant.Linux.Processes;

/// <summary>The program that this process runs.</summary>
public static unsafe partial class ProcessImage
{
    /// <summary>
    /// Puts another program into this process, which keeps its id, its standard streams, root and working directory (<c>man 2 execve</c>).
    /// All threads end; nothing is disposed of and no finally block runs. Returns only by exception.
    /// </summary>
    /// <param name="path">Absolute path of the program.</param>
    /// <param name="arguments">Its arguments, the name first.</param>
    /// <param name="environment">Its whole environment as <c>NAME=value</c>.</param>
    /// <exception cref="Win32Exception">ENOENT, EACCES, ENOEXEC: it could not be run, and this program goes on.</exception>
    [DoesNotReturn]
    public static void Replace(string path, IReadOnlyList<string> arguments, IReadOnlyList<string> environment)
    {
        using var argv = new StringVector(arguments);
        using var envp = new StringVector(environment);
        _ = Execute(path, argv.Pointer, envp.Pointer);
        throw LinuxError.Last($"Running {path}");
    }

    [LibraryImport("libc", EntryPoint = "execve", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Execute(string path, byte** arguments, byte** environment);
}
