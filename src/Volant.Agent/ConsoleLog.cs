using System.ComponentModel;
using System.Globalization;
using System.Text;

namespace Volant.Agent;

/// <summary>The guest's console, which is the host's log: whole lines, in order, written by one thread.</summary>
/// <remarks>
/// A serial console takes some 180 KiB/s. Nobody waits for it: beyond <see cref="MaxQueued"/> unwritten bytes, lines are dropped and
/// counted, and the count is written when there is room again. A workload that floods it does not take the place of what the agent says.
/// </remarks>
internal sealed class ConsoleLog : IDisposable
{
    /// <summary>Most bytes that wait to be written, without those of the agent itself.</summary>
    public const int MaxQueued = 512 * 1024;

    private const int OwnBytes = 16 * 1024;

    private readonly Action<byte[]> _write;
    private readonly object _gate = new();
    private readonly Queue<byte[]> _lines = new();
    private int _queued;
    private long _dropped;
    private bool _isWriting;
    private bool _isClosed;

    /// <summary>Writes lines with <paramref name="write"/>, which may block and may fail with a <see cref="Win32Exception"/>.</summary>
    public ConsoleLog(Action<byte[]> write)
    {
        _write = write;
        new Thread(Run, maxStackSize: 256 * 1024) { IsBackground = true, Name = "console" }.Start();
    }

    /// <summary>Writes a line of the agent itself.</summary>
    public void Say(string sentence) => Write(Encoding.UTF8.GetBytes($"kestrel: {sentence}\n"), MaxQueued + OwnBytes);

    /// <summary>Queues one line, which ends with a line feed.</summary>
    public void Write(byte[] line) => Write(line, MaxQueued);

    private void Write(byte[] line, int most)
    {
        lock (_gate)
        {
            if (_queued + line.Length > most)
            {
                _dropped++;
                return;
            }

            if (_dropped > 0)
            {
                Add_NeedsLock(Encoding.ASCII.GetBytes(string.Create(CultureInfo.InvariantCulture, $"kestrel: {_dropped} lines dropped, the console is too slow.\n")));
                _dropped = 0;
            }

            Add_NeedsLock(line);
        }
    }

    /// <summary>Waits until everything queued is written, at most for <paramref name="limit"/>.</summary>
    public void Flush(TimeSpan limit)
    {
        var end = Environment.TickCount64 + (long)limit.TotalMilliseconds;
        lock (_gate)
        {
            while ((_lines.Count > 0 || _isWriting) && end - Environment.TickCount64 is > 0 and var left)
            {
                Monitor.Wait(_gate, (int)left);
            }
        }
    }

    /// <summary>Waits a second at most until everything is written, and ends the thread once it is.</summary>
    public void Dispose()
    {
        Flush(TimeSpan.FromSeconds(1));
        lock (_gate)
        {
            _isClosed = true;
            Monitor.PulseAll(_gate);
        }
    }

    private void Add_NeedsLock(byte[] line)
    {
        _lines.Enqueue(line);
        _queued += line.Length;
        Monitor.PulseAll(_gate);
    }

    private void Run()
    {
        while (true)
        {
            byte[]? line;
            lock (_gate)
            {
                _isWriting = false;
                Monitor.PulseAll(_gate);
                while (!_lines.TryDequeue(out line))
                {
                    if (_isClosed)
                    {
                        return;
                    }

                    Monitor.Wait(_gate);
                }

                _queued -= line.Length;
                _isWriting = true;
            }

            try
            {
                _write(line);
            }
            catch (Win32Exception)
            {
                // A console that cannot be written leaves nowhere to say so.
            }
        }
    }
}
