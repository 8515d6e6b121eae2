using System.ComponentModel;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Volant.Linux.Kernel;

/// <summary>Loads kernel modules (<c>man 2 finit_module</c>). Dependencies are the caller's affair.</summary>
public static partial class KernelModule
{
    private const int OpenCloseOnExec = 0x80000; // O_RDONLY | O_CLOEXEC
    private const nint CompressedFile = 4; // MODULE_INIT_COMPRESSED_FILE

    /// <summary>Loads a module; false when it is loaded, or built in, already.</summary>
    /// <param name="path">Module file; <c>.xz</c>, <c>.zst</c> and <c>.gz</c> are unpacked by the kernel if it can (CONFIG_MODULE_DECOMPRESS).</param>
    /// <param name="parameters">Parameters as on modprobe's command line.</param>
    /// <exception cref="Win32Exception">
    /// ENOENT: no such file; ENOEXEC: built for another kernel; ENOSYS: no modules in this kernel; EPERM: needs CAP_SYS_MODULE;
    /// EOPNOTSUPP: the kernel cannot unpack it; ENODEV: nothing here that it drives.
    /// </exception>
    public static bool Load(string path, string parameters = "")
    {
        using var file = new SafeFileHandle(LinuxError.Check(Open(path, OpenCloseOnExec), $"Opening kernel module {path}"), ownsHandle: true);
        var flags = Path.GetExtension(path) is ".xz" or ".zst" or ".gz" ? CompressedFile : 0;
        if (SystemCall(LoadFromFile, file.DangerousGetHandle(), parameters, flags, 0, 0, 0) == 0)
        {
            return true;
        }

        var errno = Marshal.GetLastPInvokeError();
        return errno == Errno.Exists ? false : throw LinuxError.Of(errno, $"Loading kernel module {path}");
    }

    /// <summary>Number of <c>finit_module</c>, for which the C library has no function.</summary>
    private static nint LoadFromFile => RuntimeInformation.ProcessArchitecture switch
    {
        Architecture.X64 => 313,
        Architecture.Arm64 => 273,
        var other => throw new PlatformNotSupportedException($"The number of finit_module on {other} is not known."),
    };

    [LibraryImport("libc", EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Open(string path, int flags);

    // All six arguments are passed: with fewer, the kernel reads garbage as the others.
    [LibraryImport("libc", EntryPoint = "syscall", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial nint SystemCall(nint number, nint file, string parameters, nint flags, nint d, nint e, nint f);
}
