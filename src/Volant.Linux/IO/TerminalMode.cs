using System.ComponentModel;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Volant.Linux.IO;

/// <summary>A terminal in raw mode (<c>cfmakeraw(3)</c>): bytes pass as they are, and no key is a signal. Disposing restores what was.</summary>
/// <remarks>Safe to dispose of from a signal's thread while others use the terminal, and more than once.</remarks>
public sealed unsafe partial class TerminalMode : IDisposable
{
    // struct termios has 60 bytes on every architecture that Volant runs on; it is only handed back and forth.
    private const int Size = 64;
    private const int AfterOutput = 1; // TCSADRAIN
    private const nuint GetWindowSize = 0x5413; // TIOCGWINSZ

    private readonly SafeFileHandle _terminal;
    private readonly byte[] _before = new byte[Size];
    private readonly byte[] _raw = new byte[Size];
    private readonly Lock _gate = new();
    private bool _restored;

    private TerminalMode(SafeFileHandle terminal)
    {
        _terminal = terminal;
        fixed (byte* before = _before, raw = _raw)
        {
            LinuxError.Check(GetAttributes(terminal, before), "Reading the terminal's mode");
            _before.CopyTo(_raw, 0);
            MakeRaw(raw);
        }
    }

    /// <summary>Switches a terminal to raw mode.</summary>
    /// <param name="terminal">The terminal; stays the caller's.</param>
    /// <exception cref="Win32Exception">ENOTTY: it is no terminal.</exception>
    public static TerminalMode SetRaw(SafeFileHandle terminal)
    {
        var mode = new TerminalMode(terminal);
        mode.Apply(mode._raw);
        return mode;
    }

    /// <summary>Columns and rows of a terminal; null when there is none, or it does not know.</summary>
    public static (int Columns, int Rows)? SizeOf(SafeFileHandle terminal)
    {
        // struct winsize: rows, columns and two more, each an unsigned short.
        var size = stackalloc ushort[4];
        return Control(terminal, GetWindowSize, size) >= 0 && size[0] > 0 && size[1] > 0 ? (size[1], size[0]) : null;
    }

    /// <summary>Sets raw mode again, after a shell has had the terminal in between (job control).</summary>
    public void Renew()
    {
        lock (_gate)
        {
            if (!_restored)
            {
                Apply(_raw);
            }
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        lock (_gate)
        {
            if (_restored)
            {
                return;
            }

            _restored = true;
            fixed (byte* before = _before)
            {
                // A terminal that is gone needs no mode.
                _ = SetAttributes(_terminal, AfterOutput, before);
            }
        }
    }

    private void Apply(byte[] mode)
    {
        fixed (byte* attributes = mode)
        {
            LinuxError.Check(SetAttributes(_terminal, AfterOutput, attributes), "Setting the terminal's mode");
        }
    }

    [LibraryImport("libc", EntryPoint = "tcgetattr", SetLastError = true)]
    private static partial int GetAttributes(SafeFileHandle fd, byte* termios);

    [LibraryImport("libc", EntryPoint = "tcsetattr", SetLastError = true)]
    private static partial int SetAttributes(SafeFileHandle fd, int when, byte* termios);

    [LibraryImport("libc", EntryPoint = "cfmakeraw")]
    private static partial void MakeRaw(byte* termios);

    [LibraryImport("libc", EntryPoint = "ioctl", SetLastError = true)]
    private static partial int Control(SafeFileHandle fd, nuint request, ushort* argument);
}
