using System.Globalization;
using System.Text;

namespace Volant.StandIn;

/// <summary>Takes QEMU's command line and behaves like QEMU towards the daemon: one thread, one loop. Under another name it is a <see cref="CloudMonitor"/>.</summary>
/// <remarks>Source of the control protocol: QEMU, docs/interop/qmp-spec.rst.</remarks>
internal static class Program
{
    private const int Control = 0;
    private const int Serial = 1;
    private const int Agent = 2;

    private static readonly int[] Listeners = [-1, -1, -1];
    private static readonly int[] Connections = [-1, -1, -1];
    private static Fault _fault = Fault.None;
    private static AgentConnection? _agent;
    private static string _line = string.Empty;

    public static int Main(string[] arguments)
    {
        var isQemu = Path.GetFileName(Environment.ProcessPath)!.StartsWith("qemu", StringComparison.Ordinal);
        if (arguments is ["--version"])
        {
            LibC.Write(1, isQemu ? "QEMU emulator version 7.2.0 (a stand-in for tests)\n"u8 : "cloud-hypervisor v53.0.0\n"u8);
            return 0;
        }

        LibC.DieOfSegmentation();
        if (!isQemu)
        {
            new CloudMonitor(arguments).Run();
        }

        _fault = Fault.Parse(After(arguments, "-append"));
        if (_fault.Is("exec-fail"))
        {
            LibC.Write(2, "qemu-stand-in: told to fail\n"u8);
            return _fault.Number;
        }

        if (_fault.Is("ignore-term"))
        {
            LibC.IgnoreTerminate();
        }

        for (var i = 0; i + 1 < arguments.Length; i++)
        {
            if (arguments[i] == "-chardev")
            {
                Open(arguments[i + 1]);
            }
        }

        Run();
        return 0;
    }

    private static void Open(string device)
    {
        var socket = Part(device, "id") switch { "qmp0" => Control, "serial0" => Serial, "agent0" => Agent, _ => -1 };
        if (Part(device, "logfile") is { } log)
        {
            LibC.Append(log, "the stand-in has no guest\n"u8);
        }

        if (socket < 0 || (socket == Control && _fault.Is("no-socket")) || (socket == Agent && _fault.Is("no-agent")))
        {
            return;
        }

        if (socket == Control && _fault.Is("slow-socket"))
        {
            LibC.Poll([], _fault.Number);
        }

        Listeners[socket] = LibC.Listen(Part(device, "path")!, backlog: 1);
        if (Listeners[socket] < 0)
        {
            LibC.Write(2, "qemu-stand-in: cannot listen\n"u8);
            LibC.Exit(1);
        }
    }

    private static void Run()
    {
        var end = _fault.Is("crash-after") || _fault.Is("panic-after") ? Environment.TickCount64 + _fault.Number : long.MaxValue;
        Span<PollEntry> entries = stackalloc PollEntry[3];
        while (true)
        {
            for (var i = 0; i < 3; i++)
            {
                // One connection at a time, as QEMU has it.
                entries[i] = new PollEntry { Descriptor = Connections[i] >= 0 ? Connections[i] : Listeners[i], Events = LibC.PollIn };
            }

            var next = Math.Min(end, _agent?.NextDue ?? long.MaxValue);
            LibC.Poll(entries, next == long.MaxValue ? -1 : (int)Math.Max(0, next - Environment.TickCount64));
            var now = Environment.TickCount64;
            if (now >= end)
            {
                Fail();
            }

            for (var i = 0; i < 3; i++)
            {
                if (entries[i].Returned != 0)
                {
                    Handle(i);
                }
            }

            _agent?.AnswerDue(Connections[Agent], now);
        }
    }

    private static void Handle(int channel)
    {
        if (Connections[channel] < 0)
        {
            Connections[channel] = LibC.Accept(Listeners[channel]);
            if (channel == Control)
            {
                Say("""{"QMP": {"version": {"qemu": {"micro": 0, "minor": 2, "major": 7}, "package": ""}, "capabilities": []}}""");
            }
            else if (channel == Agent)
            {
                _agent = new AgentConnection(_fault);
            }

            return;
        }

        var open = channel switch
        {
            Control => Converse(),
            Agent => _agent!.Serve(Connections[Agent], () => _ = _fault.Is("deaf") || PowerOff("guest-shutdown")),
            _ => Listen(),
        };
        if (!open)
        {
            _ = LibC.Close(Connections[channel]);
            Connections[channel] = -1;
            _agent = channel == Agent ? null : _agent;
            _line = channel == Control ? string.Empty : _line;
        }
    }

    /// <summary>Reads what is typed on the serial console: <c>exit N</c> ends the process with that code and without a word.</summary>
    private static bool Listen()
    {
        Span<byte> typed = stackalloc byte[4096];
        var count = LibC.Receive(Connections[Serial], typed);
        if (count > 0 && typed[..count].StartsWith("exit "u8))
        {
            LibC.Exit(int.Parse(typed[5..count].TrimEnd((byte)'\n'), CultureInfo.InvariantCulture));
        }

        return count != 0;
    }

    /// <summary>Reads commands, one a line.</summary>
    private static bool Converse()
    {
        Span<byte> buffer = stackalloc byte[4096];
        var count = LibC.Receive(Connections[Control], buffer);
        if (count <= 0)
        {
            return count != 0;
        }

        _line += Encoding.UTF8.GetString(buffer[..count]);
        while (_line.IndexOf('\n', StringComparison.Ordinal) is >= 0 and var end)
        {
            var command = _line[..end];
            _line = _line[(end + 1)..];
            if (!_fault.Is("hang-api"))
            {
                Obey(Member(command, "execute").Trim('"'), Member(command, "id"));
            }
        }

        return true;
    }

    private static void Obey(string command, string id)
    {
        var result = command == "query-status" ? """{"status": "running", "running": true}""" : "{}";
        Say($$"""{"return": {{result}}, "id": {{id}}}""");
        if (command == "quit")
        {
            PowerOff("host-qmp-quit");
        }
        else if (command == "system_powerdown" && !_fault.Is("deaf"))
        {
            PowerOff("guest-shutdown");
        }
    }

    private static bool PowerOff(string reason)
    {
        Say($$$"""{"timestamp": {"seconds": 0, "microseconds": 0}, "event": "SHUTDOWN", "data": {"guest": true, "reason": "{{{reason}}}"}}""");
        LibC.Exit(0);
        return true;
    }

    private static void Fail()
    {
        if (_fault.Is("panic-after"))
        {
            Say("""{"timestamp": {"seconds": 0, "microseconds": 0}, "event": "GUEST_PANICKED", "data": {"action": "pause"}}""");
        }

        LibC.Exit(9);
    }

    private static void Say(string message)
    {
        if (Connections[Control] >= 0)
        {
            LibC.Send(Connections[Control], Encoding.UTF8.GetBytes(message + "\r\n"));
        }
    }

    private static string After(string[] arguments, string option) => Array.IndexOf(arguments, option) is >= 0 and var at && at + 1 < arguments.Length ? arguments[at + 1] : string.Empty;

    private static string? Part(string options, string name)
    {
        var at = options.IndexOf($",{name}=", StringComparison.Ordinal);
        return at < 0 ? null : options[(at + name.Length + 2)..].Split(',')[0];
    }

    /// <summary>A member of a flat JSON object, as it is written.</summary>
    private static string Member(string json, string name)
    {
        var from = json.IndexOf($"\"{name}\":", StringComparison.Ordinal) + name.Length + 3;
        var to = json.AsSpan(from).IndexOfAny(',', '}');
        return json[from..(from + to)].Trim();
    }
}
