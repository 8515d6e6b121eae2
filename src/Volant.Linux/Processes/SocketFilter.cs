using System.ComponentModel;
using System.Runtime.InteropServices;

namespace Volant.Linux.Processes;

/// <summary>Which sockets a process may make.</summary>
public enum SocketAccess
{
    /// <summary>All.</summary>
    All,

    /// <summary>Unix ones alone: those whom it may reach by their files.</summary>
    Local,

    /// <summary>Unix ones, and IPv4 ones for datagrams, by which programs ask about network devices.</summary>
    LocalAndDatagrams,
}

/// <summary>Keeps a thread, and what it starts, from making sockets (<c>seccomp(2)</c>, <c>linux/filter.h</c>).</summary>
/// <remarks>
/// What listens on loopback, and agents of guests on vsock, trust whoever is on this host; a guest that has taken over its hypervisor is, too.
/// System calls of other architectures are refused, and so is io_uring, which makes sockets without a system call.
/// </remarks>
internal static unsafe partial class SocketFilter
{
    private const int SetSeccomp = 22; // PR_SET_SECCOMP
    private const nuint Filter = 2; // SECCOMP_MODE_FILTER
    private const uint Allow = 0x7fff0000; // SECCOMP_RET_ALLOW
    private const uint Refuse = 0x00050000; // SECCOMP_RET_ERRNO, the number below it
    private const uint NotImplemented = 38; // ENOSYS
    private const uint NotSupported = 97; // EAFNOSUPPORT
    private const ushort Load = 0x20, And = 0x54, IfEqual = 0x15, IfAtLeast = 0x35, Return = 0x06; // BPF_LD|W|ABS, ALU|AND|K, JMP|JEQ|K, JMP|JGE|K, RET|K
    private const uint Number = 0, Architecture = 4, First = 16, Second = 24; // struct seccomp_data; the low halves of arguments
    private const uint OtherAbi = 0x40000000; // __X32_SYSCALL_BIT
    private const uint TypeMask = 0xf; // SOCK_TYPE_MASK
    private const uint Unix = 1, Internet = 2, Datagram = 2;
    private const uint IoUringSetup = 425;

    private static bool IsArm => RuntimeInformation.ProcessArchitecture == System.Runtime.InteropServices.Architecture.Arm64;

    /// <summary>Puts the filter on the calling thread, for good.</summary>
    /// <exception cref="Win32Exception">EACCES: new rights must have been given up before. EINVAL: the kernel has no filters.</exception>
    public static void Apply(SocketAccess access)
    {
        var (architecture, socket) = IsArm ? (0xC00000B7u, 198u) : (0xC000003Eu, 41u);
        var datagrams = access == SocketAccess.LocalAndDatagrams ? Internet : Unix;
        ReadOnlySpan<Instruction> code =
        [
            new(Load, 0, 0, Architecture),
            new(IfEqual, 0, 12, architecture),
            new(Load, 0, 0, Number),
            new(IfAtLeast, 10, 0, OtherAbi),
            new(IfEqual, 9, 0, IoUringSetup),
            new(IfEqual, 0, 6, socket),
            new(Load, 0, 0, First),
            new(IfEqual, 4, 0, Unix),
            new(IfEqual, 0, 4, datagrams),
            new(Load, 0, 0, Second),
            new(And, 0, 0, TypeMask),
            new(IfEqual, 0, 1, Datagram),
            new(Return, 0, 0, Allow),
            new(Return, 0, 0, Refuse | NotSupported),
            new(Return, 0, 0, Refuse | NotImplemented),
        ];
        fixed (Instruction* first = code)
        {
            var program = new FilterProgram { Length = (ushort)code.Length, First = first };
            LinuxError.Check(ProcessControl(SetSeccomp, Filter, (nuint)(&program), 0, 0), "Keeping a program from making sockets");
        }
    }

    /// <summary><c>struct sock_filter</c>: jumps are counted from the next instruction.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private readonly record struct Instruction(ushort Code, byte IfTrue, byte IfFalse, uint Operand);

    [StructLayout(LayoutKind.Sequential)]
    private struct FilterProgram
    {
        public ushort Length;
        public Instruction* First;
    }

    [LibraryImport("libc", EntryPoint = "prctl", SetLastError = true)]
    private static partial int ProcessControl(int option, nuint a, nuint b, nuint c, nuint d);
}
