using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;

namespace Volant.StandIn;

/// <summary>Takes Cloud Hypervisor's command line and behaves like it towards the daemon: one thread, one loop.</summary>
/// <remarks>
/// Source: Cloud Hypervisor, docs/api.md, docs/vsock.md, event_monitor and vmm/src/lib.rs: one connection of the serial socket, the newest;
/// output before the first one is kept; a guest that resets is started again in place; SIGTERM is a clean end.
/// </remarks>
internal sealed class CloudMonitor
{
    private const string Greeting = "the stand-in has no guest\n";

    private readonly string _apiSocket;
    private readonly string _events;
    private readonly int _listener;
    private readonly Dictionary<int, CloudApi> _clients = [];
    private readonly Dictionary<int, AgentConnection> _agents = [];
    private readonly List<int> _greeting = [];
    private readonly StringBuilder _early = new();
    private int _serialListener = -1;
    private int _serial = -1;
    private int _vsockListener = -1;
    private long _fails = long.MaxValue;

    /// <summary>Binds the API's socket and begins the events.</summary>
    public CloudMonitor(string[] arguments)
    {
        _apiSocket = PathAfter(arguments, "--api-socket");
        _events = PathAfter(arguments, "--event-monitor");
        File.WriteAllText(_events, string.Empty);
        _listener = LibC.Listen(_apiSocket, backlog: 8);
        if (_listener < 0)
        {
            LibC.Write(2, "cloud-hypervisor-stand-in: Error creating API server's socket\n"u8);
            LibC.Exit(1);
        }

        Happened("vmm", "starting");
        PosixSignalRegistration.Create(PosixSignal.SIGTERM, context =>
        {
            context.Cancel = true;
            if (!Fault.Is("ignore-term"))
            {
                End();
            }
        });
    }

    /// <summary><c>Created</c>, <c>Running</c>, <c>Paused</c>; null without a VM.</summary>
    public string? State { get; private set; }

    /// <summary>What goes wrong.</summary>
    public Fault Fault { get; private set; } = Fault.None;

    /// <summary>Takes over what is to run: makes its sockets.</summary>
    /// <exception cref="CloudRefusal">A socket is there already.</exception>
    public void Create(JsonElement vm)
    {
        Fault = Fault.Parse(vm.GetProperty("payload").GetProperty("cmdline").GetString()!);
        _serialListener = Open(vm.GetProperty("serial").GetProperty("socket").GetString()!);
        if (vm.TryGetProperty("vsock", out var vsock) && !Fault.Is("no-agent"))
        {
            _vsockListener = Open(vsock.GetProperty("socket").GetString()!);
        }

        State = "Created";
    }

    /// <summary>Starts it.</summary>
    public void Boot()
    {
        Happened("vm", "booting");
        Print(Greeting);
        State = "Running";
        Happened("vm", "booted");
        if (Fault.Is("crash-after") || Fault.Is("panic-after") || Fault.Is("reset-after"))
        {
            _fails = Environment.TickCount64 + Fault.Number;
        }
    }

    /// <summary>Stops its processors, or lets them go on.</summary>
    public void Pause(bool pause)
    {
        State = pause ? "Paused" : "Running";
        Happened("vm", pause ? "paused" : "resumed");
    }

    /// <summary>The guest is asked to power off, and does.</summary>
    public void PowerOff()
    {
        if (!Fault.Is("deaf"))
        {
            End();
        }
    }

    /// <summary>Takes the VM away and ends the process.</summary>
    public void End()
    {
        if (State is not null)
        {
            Happened("vm", "shutdown");
            Happened("vm", "deleted");
        }

        Happened("vmm", "shutdown");
        File.Delete(_apiSocket);
        LibC.Exit(0);
    }

    /// <summary>Serves, for ever.</summary>
    public void Run()
    {
        while (true)
        {
            var watched = new List<int>([_listener, _serialListener, _serial, _vsockListener, .. _clients.Keys, .. _agents.Keys, .. _greeting]);
            var entries = new PollEntry[watched.Count];
            for (var i = 0; i < entries.Length; i++)
            {
                entries[i] = new PollEntry { Descriptor = watched[i], Events = LibC.PollIn };
            }

            var next = Math.Min(_fails, _agents.Values.Select(agent => agent.NextDue).DefaultIfEmpty(long.MaxValue).Min());
            LibC.Poll(entries, next == long.MaxValue ? -1 : (int)Math.Max(0, next - Environment.TickCount64));
            var now = Environment.TickCount64;
            if (now >= _fails)
            {
                Fail();
            }

            foreach (var entry in entries)
            {
                if (entry.Returned != 0)
                {
                    Handle(entry.Descriptor);
                }
            }

            foreach (var (socket, agent) in _agents)
            {
                agent.AnswerDue(socket, now);
            }
        }
    }

    private void Handle(int descriptor)
    {
        if (descriptor == _listener)
        {
            _clients[LibC.Accept(_listener)] = new CloudApi(this);
        }
        else if (descriptor == _serialListener)
        {
            if (_serial >= 0)
            {
                _ = LibC.Close(_serial);
            }

            _serial = LibC.Accept(_serialListener);
            LibC.Send(_serial, Encoding.UTF8.GetBytes(_early.ToString()));
            _early.Clear();
        }
        else if (descriptor == _serial)
        {
            Listen();
        }
        else if (descriptor == _vsockListener)
        {
            _greeting.Add(LibC.Accept(_vsockListener));
        }
        else if (_greeting.Contains(descriptor))
        {
            Greet(descriptor);
        }
        else if (_clients.TryGetValue(descriptor, out var client) && !client.Serve(descriptor))
        {
            _clients.Remove(descriptor);
            _ = LibC.Close(descriptor);
        }
        else if (_agents.TryGetValue(descriptor, out var agent) && !agent.Serve(descriptor, PowerOff))
        {
            _agents.Remove(descriptor);
            _ = LibC.Close(descriptor);
        }
    }

    /// <summary>What is typed on the console comes back; <c>exit N</c> ends the process without a word, <c>reset</c> is a reset by the guest.</summary>
    private void Listen()
    {
        Span<byte> typed = stackalloc byte[4096];
        var count = LibC.Receive(_serial, typed);
        if (count <= 0)
        {
            _ = count == 0 ? LibC.Close(_serial) : 0;
            _serial = count == 0 ? -1 : _serial;
            return;
        }

        var text = Encoding.UTF8.GetString(typed[..count]);
        if (text.StartsWith("exit ", StringComparison.Ordinal))
        {
            LibC.Exit(int.Parse(text[5..].TrimEnd('\n'), CultureInfo.InvariantCulture));
        }
        else if (text == "reset\n")
        {
            Reset();
        }

        Print($"typed: {text}");
    }

    /// <summary><c>CONNECT port\n</c> leads to the agent, if the guest listens.</summary>
    private void Greet(int socket)
    {
        Span<byte> line = stackalloc byte[32];
        var count = LibC.Receive(socket, line);
        _greeting.Remove(socket);
        if (count > 0 && line[..count].SequenceEqual("CONNECT 8080\n"u8) && State == "Running" && !Fault.Is("mute-agent"))
        {
            LibC.Send(socket, "OK 1073741824\n"u8);
            _agents[socket] = new AgentConnection(Fault, linked: true);
        }
        else
        {
            _ = LibC.Close(socket);
        }
    }

    private void Fail()
    {
        _fails = long.MaxValue;
        if (Fault.Is("crash-after"))
        {
            LibC.Exit(9);
        }

        if (Fault.Is("panic-after"))
        {
            Happened("guest", "panic", """{"event": "panic"}""");
        }

        Reset();
    }

    private void Reset()
    {
        Happened("vm", "rebooting");
        Print(Greeting);
        Happened("vm", "rebooted");
    }

    private void Print(string text)
    {
        if (_serial >= 0)
        {
            LibC.Send(_serial, Encoding.UTF8.GetBytes(text));
        }
        else
        {
            _early.Append(text);
        }
    }

    private void Happened(string source, string name, string properties = "null") => LibC.Append(
        _events,
        Encoding.UTF8.GetBytes(
            $$"""
            {
              "timestamp": {
                "secs": 0,
                "nanos": 1
              },
              "source": "{{source}}",
              "event": "{{name}}",
              "properties": {{properties}}
            }


            """));

    private static int Open(string path)
    {
        var listener = LibC.Listen(path, backlog: 16);
        return listener >= 0 ? listener : throw new CloudRefusal(500, "The VM could not be created", $"Error binding to UNIX socket: {path}");
    }

    private static string PathAfter(string[] arguments, string option)
    {
        var value = arguments[Array.IndexOf(arguments, option) + 1];
        return value.StartsWith("path=", StringComparison.Ordinal) ? value["path=".Length..].Trim('"') : throw new ArgumentException($"{option} is no path", nameof(arguments));
    }
}
