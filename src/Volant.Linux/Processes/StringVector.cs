using System.Runtime.InteropServices;

namespace Volant.Linux.Processes;

/// <summary>A NULL-terminated array of C strings, as argument lists and environments are passed.</summary>
internal sealed unsafe class StringVector : IDisposable
{
    private readonly int _count;

    /// <summary>Copies the strings.</summary>
    /// <exception cref="ArgumentException">One holds a NUL character.</exception>
    public StringVector(IReadOnlyList<string> values)
    {
        _count = values.Count;
        Pointer = (byte**)NativeMemory.AllocZeroed((nuint)(_count + 1), (nuint)sizeof(byte*));
        for (var i = 0; i < _count; i++)
        {
            if (values[i].Contains('\0', StringComparison.Ordinal))
            {
                Dispose();
                throw new ArgumentException("An argument holds a NUL character.", nameof(values));
            }

            Pointer[i] = (byte*)Marshal.StringToCoTaskMemUTF8(values[i]);
        }
    }

    /// <summary>The array.</summary>
    public byte** Pointer { get; }

    /// <inheritdoc/>
    public void Dispose()
    {
        for (var i = 0; i < _count; i++)
        {
            Marshal.FreeCoTaskMem((nint)Pointer[i]);
        }

        NativeMemory.Free(Pointer);
    }
}
