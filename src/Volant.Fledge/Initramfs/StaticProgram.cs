using System.Buffers.Binary;
using System.Runtime.InteropServices;

namespace Volant.Fledge.Initramfs;

/// <summary>Checks that a program runs in a guest that has no libraries: an ELF executable for this machine without an interpreter.</summary>
/// <remarks>System V ABI, chapter 4 (ELF header) and 5 (program header); 64-bit little-endian only.</remarks>
internal static class StaticProgram
{
    private const int HeaderBytes = 64;
    private const int ProgramHeaderBytes = 56;
    private const ushort Executable = 2;
    private const ushort SharedObject = 3;
    private const uint Interpreter = 3;
    private const int MaxProgramHeaders = 256;

    private static ushort ThisMachine => RuntimeInformation.OSArchitecture == Architecture.Arm64 ? (ushort)183 : (ushort)62;

    /// <summary>What is wrong with the program, as the end of a sentence that starts with its name; null when it is good.</summary>
    public static string? Fault(Stream program)
    {
        Span<byte> header = stackalloc byte[HeaderBytes];
        if (program.ReadAtLeast(header, HeaderBytes, throwOnEndOfStream: false) < HeaderBytes || !header[..4].SequenceEqual("\u007fELF"u8))
        {
            return "is not an ELF program";
        }

        // EI_CLASS 2 is 64 bits, EI_DATA 1 is little-endian.
        var type = BinaryPrimitives.ReadUInt16LittleEndian(header[16..]);
        var machine = BinaryPrimitives.ReadUInt16LittleEndian(header[18..]);
        if (header[4] != 2 || header[5] != 1 || machine != ThisMachine)
        {
            return $"is a program for another machine (ELF machine {machine}, this one is {ThisMachine})";
        }

        var entry = BinaryPrimitives.ReadUInt64LittleEndian(header[24..]);
        var offset = BinaryPrimitives.ReadUInt64LittleEndian(header[32..]);
        var size = BinaryPrimitives.ReadUInt16LittleEndian(header[54..]);
        var count = BinaryPrimitives.ReadUInt16LittleEndian(header[56..]);
        if (type is not (Executable or SharedObject) || entry == 0 || size != ProgramHeaderBytes || count is 0 or > MaxProgramHeaders || offset > int.MaxValue)
        {
            return "is not an executable ELF program";
        }

        program.Position = (long)offset;
        Span<byte> segment = stackalloc byte[ProgramHeaderBytes];
        for (var i = 0; i < count; i++)
        {
            if (program.ReadAtLeast(segment, ProgramHeaderBytes, throwOnEndOfStream: false) < ProgramHeaderBytes)
            {
                return "is a truncated ELF program";
            }

            if (BinaryPrimitives.ReadUInt32LittleEndian(segment) == Interpreter)
            {
                return "is dynamically linked, but the guest has no libraries";
            }
        }

        return null;
    }
}
