using System.Buffers.Binary;

namespace Volant.Fledge.Modules;

/// <summary>The signature at the end of a kernel module (Linux, Documentation/admin-guide/module-signing.rst; include/linux/module_signature.h).</summary>
/// <remarks>Layout: module, PKCS#7 message, 12 bytes whose last four are the message's length (big-endian), the magic text.</remarks>
internal static class ModuleSignature
{
    private const int TrailerBytes = 12;

    /// <summary>A plain module without its signature; all of it when it has none, or one that makes no sense.</summary>
    public static byte[] Remove(byte[] module)
    {
        var magic = "~Module signature appended~\n"u8;
        var end = module.Length - TrailerBytes - magic.Length;
        if (end < 0 || !module.AsSpan(end + TrailerBytes).SequenceEqual(magic))
        {
            return module;
        }

        var unsigned = end - (long)BinaryPrimitives.ReadUInt32BigEndian(module.AsSpan(end + TrailerBytes - sizeof(uint)));
        return unsigned > 0 ? module[..(int)unsigned] : module;
    }
}
