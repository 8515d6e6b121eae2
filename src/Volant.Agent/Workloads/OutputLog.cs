using System.Globalization;
using Volant.Linux.Kernel;

namespace Volant.Agent.Workloads;

/// <summary>One line of the workload.</summary>
/// <param name="Sequence">Rises by one with every line of this boot, from 1.</param>
/// <param name="At">When it was read.</param>
/// <param name="IsError">Whether it came from standard error.</param>
/// <param name="Text">Its bytes with the line feed.</param>
internal readonly record struct OutputLine(long Sequence, DateTimeOffset At, bool IsError, byte[] Text);

/// <summary>The newest lines of the workload, numbered: a ring that readers go through at their own pace.</summary>
/// <remarks>
/// Holds <see cref="MaxLines"/> lines and <see cref="MaxBytes"/> bytes at most. Nobody waits for a reader: one that falls behind finds
/// out by the numbers how many lines it lost. Thread-safe.
/// </remarks>
internal sealed class OutputLog
{
    /// <summary>Most lines kept.</summary>
    public const int MaxLines = 16 * 1024;

    /// <summary>Most bytes of text kept.</summary>
    public const int MaxBytes = 2 * 1024 * 1024;

    private const int EpochBytes = 6;

    private readonly Lock _gate = new();
    private readonly TimeProvider _clock;
    private readonly OutputLine[] _ring = new OutputLine[MaxLines];
    private long _first = 1;
    private long _next = 1;
    private int _bytes;
    private bool _isComplete;
    private TaskCompletionSource? _changed;

    /// <summary>Makes an empty log.</summary>
    public OutputLog(TimeProvider clock)
    {
        _clock = clock;
        Renew();
    }

    /// <summary>Tells the numbers of this boot from those of any other.</summary>
    public string Epoch { get; private set; } = string.Empty;

    /// <summary>Gives the numbers another epoch: those of a restored guest are not those of the machine that it was copied from.</summary>
    public void Renew()
    {
        Span<byte> epoch = stackalloc byte[EpochBytes];
        KernelRandom.Fill(epoch);
        Epoch = Convert.ToHexStringLower(epoch);
    }

    /// <summary>Adds a line, which ends with a line feed.</summary>
    public void Add(bool isError, byte[] text)
    {
        lock (_gate)
        {
            var at = _clock.GetUtcNow();
            _bytes += text.Length;
            while (_next - _first == MaxLines || (_bytes > MaxBytes && _first < _next))
            {
                ref var oldest = ref _ring[_first % MaxLines];
                _bytes -= oldest.Text.Length;
                oldest = default;
                _first++;
            }

            _ring[_next % MaxLines] = new OutputLine(_next, at, isError, text);
            _next++;
            Signal_NeedsLock();
        }
    }

    /// <summary>There will be no more lines.</summary>
    public void Complete()
    {
        lock (_gate)
        {
            _isComplete = true;
            Signal_NeedsLock();
        }
    }

    /// <summary>Copies lines after a number, oldest first.</summary>
    /// <param name="after">Last number seen; 0 for none.</param>
    /// <param name="into">Filled from its start.</param>
    /// <param name="lost">How many lines after <paramref name="after"/> are gone.</param>
    /// <returns>How many were copied.</returns>
    public int Read(long after, Span<OutputLine> into, out long lost)
    {
        lock (_gate)
        {
            var from = Math.Max(after + 1, _first);
            lost = from - (after + 1);
            var count = (int)Math.Clamp(_next - from, 0, into.Length);
            for (var i = 0; i < count; i++)
            {
                into[i] = _ring[(from + i) % MaxLines];
            }

            return count;
        }
    }

    /// <summary>Waits for a line after a number; false when there will be none.</summary>
    public async Task<bool> WaitAsync(long after, CancellationToken cancellationToken)
    {
        while (true)
        {
            Task changed;
            lock (_gate)
            {
                if (_next > after + 1)
                {
                    return true;
                }

                if (_isComplete)
                {
                    return false;
                }

                _changed ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
                changed = _changed.Task;
            }

            await changed.WaitAsync(cancellationToken);
        }
    }

    /// <summary>The name of a line among those of all boots, <c>EPOCH.NUMBER</c>.</summary>
    public string IdOf(long sequence) => string.Create(CultureInfo.InvariantCulture, $"{Epoch}.{sequence}");

    /// <summary>The number in an id; 0, the beginning, when the id is of another boot or none at all.</summary>
    public long SequenceOf(string? id)
    {
        var dot = id?.IndexOf('.', StringComparison.Ordinal) ?? -1;
        if (dot < 0 || !id.AsSpan(0, dot).SequenceEqual(Epoch) ||
            !long.TryParse(id.AsSpan(dot + 1), NumberStyles.None, CultureInfo.InvariantCulture, out var sequence))
        {
            return 0;
        }

        lock (_gate)
        {
            // A number that was never given out would make its reader wait for ever.
            return sequence < _next ? sequence : 0;
        }
    }

    private void Signal_NeedsLock()
    {
        _changed?.SetResult();
        _changed = null;
    }
}
