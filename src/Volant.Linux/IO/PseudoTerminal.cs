using System.ComponentModel;
using System.Globalization;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Volant.Linux.IO;

/// <summary>A terminal without a device behind it (<c>man 7 pty</c>): programs use <see cref="Device"/>, we are the other side.</summary>
/// <remarks>Reading <see cref="Stream"/> throws an <see cref="IOException"/> (EIO) instead of ending when no program has the device open any more.</remarks>
public sealed unsafe partial class PseudoTerminal : IDisposable
{
    private const string Multiplexer = "/dev/ptmx";
    private const int OpenFlags = 0x2 | 0x100 | 0x800 | 0x80000; // O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC
    private const nuint Unlock = 0x40045431; // TIOCSPTLCK
    private const nuint GetNumber = 0x80045430; // TIOCGPTN
    private const nuint SetSize = 0x5414; // TIOCSWINSZ
    private const nuint GetForeground = 0x540f; // TIOCGPGRP

    private readonly SafeFileHandle _control;

    private PseudoTerminal(SafeFileHandle control, FdStream stream, string device)
    {
        _control = control;
        Stream = stream;
        Device = device;
    }

    /// <summary>What programs write, and what they read as typed. Owned by this object.</summary>
    public FdStream Stream { get; }

    /// <summary>Path of the device for programs.</summary>
    public string Device { get; }

    /// <summary>Makes a terminal.</summary>
    /// <param name="columns">Columns.</param>
    /// <param name="rows">Rows.</param>
    /// <param name="owner">Who may open the device besides root.</param>
    /// <exception cref="Win32Exception">ENOENT: no /dev/ptmx or /dev/pts; ENOSPC: no more terminals.</exception>
    public static PseudoTerminal Open(int columns, int rows, uint owner)
    {
        var master = new SafeFileHandle(LinuxError.Check(OpenCall(Multiplexer, OpenFlags), Multiplexer), ownsHandle: true);
        SafeFileHandle? control = null;
        try
        {
            var value = 0;
            LinuxError.Check(Control(master, Unlock, &value), "Unlocking a terminal");
            LinuxError.Check(Control(master, GetNumber, &value), "Asking for the number of a terminal");
            var device = string.Create(CultureInfo.InvariantCulture, $"/dev/pts/{value}");
            LinuxError.Check(OwnerCall(device, owner, uint.MaxValue), device);

            // The stream takes the descriptor over; requests go through a copy of it.
            control = new SafeFileHandle(LinuxError.Check(Duplicate(master, DuplicateCloseOnExec, 3), "Copying a descriptor"), ownsHandle: true);
            var terminal = new PseudoTerminal(control, FdStream.Own(master), device);
            terminal.Resize(columns, rows);
            return terminal;
        }
        catch
        {
            control?.Dispose();
            master.Dispose();
            throw;
        }
    }

    /// <summary>Changes the size; the foreground process group gets a SIGWINCH.</summary>
    public void Resize(int columns, int rows)
    {
        var size = new WindowSize { Rows = (ushort)rows, Columns = (ushort)columns };
        LinuxError.Check(Control(_control, SetSize, &size), "Setting the size of a terminal");
    }

    /// <summary>The process group that gets what is typed; null when there is none.</summary>
    public int? ForegroundGroup()
    {
        var group = 0;
        return Control(_control, GetForeground, &group) == 0 && group > 1 ? group : null;
    }

    /// <summary>Hangs the terminal up: its programs get a SIGHUP.</summary>
    public void Dispose()
    {
        _control.Dispose();
        Stream.Dispose();
    }

    private const int DuplicateCloseOnExec = 1030; // F_DUPFD_CLOEXEC

    [LibraryImport("libc", EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int OpenCall(string path, int flags);

    [LibraryImport("libc", EntryPoint = "ioctl", SetLastError = true)]
    private static partial int Control(SafeFileHandle fd, nuint request, void* argument);

    [LibraryImport("libc", EntryPoint = "fcntl", SetLastError = true)]
    private static partial int Duplicate(SafeFileHandle fd, int command, nint least);

    [LibraryImport("libc", EntryPoint = "chown", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int OwnerCall(string path, uint owner, uint group);

    /// <summary>The kernel's <c>struct winsize</c>, 8 bytes.</summary>
    [StructLayout(LayoutKind.Sequential, Size = 8)]
    internal struct WindowSize
    {
        public ushort Rows;
        public ushort Columns;
    }
}
