using System.Buffers;
using System.Text;
using Volant.Contracts.Api;

namespace Volant.Agent.Commands;

/// <summary>Memory for the output of all commands that are waited for, so that many of them cannot eat the guest.</summary>
/// <param name="bytes">How much there is.</param>
internal sealed class CaptureBudget(long bytes)
{
    private const long Least = 8L << 20;
    private const long Most = 256L << 20;

    private long _free = bytes;

    /// <summary>An eighth of the guest's memory, between 8 and 256 MiB.</summary>
    public static CaptureBudget For(long memoryBytes) => new(Math.Clamp(memoryBytes / 8, Least, Most));

    /// <summary>Takes some; false when there is not enough.</summary>
    public bool TryTake(int count)
    {
        if (Interlocked.Add(ref _free, -count) >= 0)
        {
            return true;
        }

        Interlocked.Add(ref _free, count);
        return false;
    }

    /// <summary>Gives back what was taken.</summary>
    public void Return(int count) => Interlocked.Add(ref _free, count);
}

/// <summary>Keeps the beginning of a stream, at most <see cref="ExecRules.MaxOutputBytes"/>.</summary>
internal sealed class OutputCapture(CaptureBudget budget) : IDisposable
{
    private readonly ArrayBufferWriter<byte> _kept = new();

    /// <summary>Whether something was left out.</summary>
    public bool IsCut { get; private set; }

    /// <summary>Keeps bytes, as far as there is room.</summary>
    public void Add(ReadOnlySpan<byte> bytes)
    {
        if (IsCut)
        {
            return;
        }

        var room = Math.Min(bytes.Length, ExecRules.MaxOutputBytes - _kept.WrittenCount);
        IsCut = room < bytes.Length;
        if (!budget.TryTake(room))
        {
            IsCut = true;
            return;
        }

        _kept.Write(bytes[..room]);
    }

    /// <summary>The bytes as text, and as base64 when they are no UTF-8. A character that was cut in two is left out.</summary>
    public (string Text, string? Base64) Read()
    {
        var bytes = _kept.WrittenSpan;
        if (IsCut)
        {
            bytes = bytes[..^CutCharacter(bytes)];
        }

        return System.Text.Unicode.Utf8.IsValid(bytes)
            ? (Encoding.UTF8.GetString(bytes), null)
            : (Encoding.UTF8.GetString(bytes), Convert.ToBase64String(bytes));
    }

    /// <inheritdoc/>
    public void Dispose() => budget.Return(_kept.WrittenCount);

    /// <summary>Length of the unfinished character at the end; 0 when there is none.</summary>
    private static int CutCharacter(ReadOnlySpan<byte> bytes)
    {
        for (var back = 1; back <= Math.Min(3, bytes.Length); back++)
        {
            if (Rune.DecodeFromUtf8(bytes[^back..], out _, out _) == OperationStatus.NeedMoreData)
            {
                return back;
            }
        }

        return 0;
    }
}
