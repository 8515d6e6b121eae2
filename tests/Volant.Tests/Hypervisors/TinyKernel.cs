using System.Buffers.Binary;

namespace Volant.Tests.Hypervisors;

/// <summary>The smallest kernels that QEMU starts: a few instructions in an ELF image with a PVH entry note.</summary>
/// <remarks>They run in 32-bit protected mode without paging and with interrupts off, as PVH promises.</remarks>
internal static class TinyKernel
{
    private const int Base = 0x100000;
    private const int CodeOffset = 0x1000;

    /// <summary>Does nothing for ever: <c>cli; hlt</c>.</summary>
    public static byte[] Halting { get; } = Image([0xfa, 0xf4, 0xeb, 0xfd]);

    /// <summary>Waits for a byte on the serial port: <c>r</c> resets by a triple fault, any other powers off (ACPI of microvm).</summary>
    public static byte[] Obedient { get; } = Image(
    [
        0xfa, // cli
        0x66, 0xba, 0xfd, 0x03, // wait: mov dx, line status
        0xec, // in al, dx
        0xa8, 0x01, // test al, data ready
        0x74, 0xf7, // jz wait
        0x66, 0xba, 0xf8, 0x03, // mov dx, data
        0xec, // in al, dx
        0x3c, (byte)'r', // cmp al, 'r'
        0x74, 0x0a, // je reset
        0xc6, 0x05, 0x00, 0x02, 0xa0, 0xfe, 0x34, // mov byte [generic event device's sleep control], S5 and enable
        0xf4, 0xeb, 0xfd, // hlt for ever
        0x0f, 0x01, 0x1d, 0x25, 0x00, 0x10, 0x00, // reset: lidt [an empty table]
        0xcc, // int3
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    ]);

    /// <summary>An ELF image with one loaded segment and, unless told otherwise, the note.</summary>
    public static byte[] Image(ReadOnlySpan<byte> code, uint noteType = 18)
    {
        var image = new byte[CodeOffset + code.Length];
        var span = image.AsSpan();
        ReadOnlySpan<byte> ident = [0x7f, (byte)'E', (byte)'L', (byte)'F', 1, 1, 1];
        ident.CopyTo(span);
        Put16(16, 2, 3); // executable, i386
        Put32(20, 1, Base, 52); // version, entry, program headers
        Put16(40, 52, 32, 2); // sizes of headers, two of them
        Put32(52, 1, CodeOffset, Base, Base, code.Length, code.Length, 5, 0x1000);
        Put32(84, 4, 116, 0, 0, 20, 20, 4, 4);
        Put32(116, 4, 4, (int)noteType);
        "Xen\0"u8.CopyTo(span[128..]);
        Put32(132, Base);
        code.CopyTo(span[CodeOffset..]);
        return image;

        void Put16(int at, params ReadOnlySpan<short> values)
        {
            foreach (var value in values)
            {
                BinaryPrimitives.WriteInt16LittleEndian(image.AsSpan(at), value);
                at += 2;
            }
        }

        void Put32(int at, params ReadOnlySpan<int> values)
        {
            foreach (var value in values)
            {
                BinaryPrimitives.WriteInt32LittleEndian(image.AsSpan(at), value);
                at += 4;
            }
        }
    }
}
