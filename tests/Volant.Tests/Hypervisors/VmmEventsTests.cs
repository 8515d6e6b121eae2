using System.Text;
using Volant.Daemon.Hypervisors.CloudHypervisor;

namespace Volant.Tests.Hypervisors;

/// <summary>Events that Cloud Hypervisor writes to a file.</summary>
public sealed class VmmEventsTests : IDisposable
{
    private readonly TemporaryDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Fact]
    public void Events_are_read_once_each_however_they_arrive()
    {
        var path = _directory.File("events.json", []);
        var events = new VmmEvents(path);
        Assert.Empty(events.Read());
        var text = Event("vm", "booting") + Event("vm", "booted") + Event("guest", "panic", """{"event": "panic"}""");
        var read = new List<string>();
        foreach (var part in text.Chunk(7))
        {
            File.AppendAllText(path, new string(part));
            read.AddRange(events.Read());
        }

        Assert.Equal(["vm booting", "vm booted", "guest panic"], read);
        Assert.Empty(events.Read());
    }

    [Fact]
    public void What_is_no_event_is_passed_over()
    {
        var path = _directory.File("events.json", Encoding.UTF8.GetBytes("nonsense { ] \n\n{\"source\": 1}\n\n[]\n\n" + Event("vm", "rebooting")));

        Assert.Equal(["vm rebooting"], new VmmEvents(path).Read());
        Assert.Empty(new VmmEvents(path + ".absent").Read());
    }

    [Fact]
    public void A_flood_takes_neither_memory_nor_disk_for_ever()
    {
        var path = _directory.File("events.json", []);
        var events = new VmmEvents(path);
        using var writer = new FileStream(path, FileMode.Open, FileAccess.Write, FileShare.ReadWrite | FileShare.Delete, bufferSize: 0);
        var one = Encoding.UTF8.GetBytes(Event("virtio-device", "reset"));
        var count = 0;
        for (var i = 0; i < 20_000; i++)
        {
            writer.Write(one);
            if (i % 1000 == 999)
            {
                count += events.Read().Count;
            }
        }

        Assert.Equal(20_000, count);
        Assert.True(writer.Position > 2 * VmmEvents.MaxReadBytes);

        // The writer's next event is behind a hole, and read.
        writer.Write(Encoding.UTF8.GetBytes(Event("vm", "shutdown")));
        Assert.Equal(["vm shutdown"], events.Read());
        Assert.True(Allocated(path) < 2 * VmmEvents.MaxReadBytes, $"{Allocated(path)} bytes are allocated");

        // One that never ends is given up; what follows is read.
        writer.Write(Encoding.UTF8.GetBytes("{\"source\": \"" + new string('x', 3 * VmmEvents.MaxEventBytes)));
        Assert.Empty(events.Read());
        writer.Write(Encoding.UTF8.GetBytes("\"}\n\n" + Event("vm", "deleted")));
        Assert.Equal(["vm deleted"], events.Read());
    }

    private static long Allocated(string path)
    {
        using var file = File.OpenHandle(path);
        var buffer = new byte[4096];
        long bytes = 0;
        for (long at = 0; RandomAccess.Read(file, buffer, at) is > 0 and var read; at += read)
        {
            bytes += buffer.AsSpan(0, read).ContainsAnyExcept((byte)0) ? read : 0;
        }

        return bytes;
    }

    private static string Event(string source, string name, string properties = "null") =>
        $$"""
        {
          "timestamp": {
            "secs": 0,
            "nanos": 5123456
          },
          "source": "{{source}}",
          "event": "{{name}}",
          "properties": {{properties}}
        }


        """;
}
