using System.Net;
using System.Net.Sockets;
using Volant.TestWorkload;

// test-workload PORT: serves until a request to /exit/CODE.
using var listener = new TcpListener(IPAddress.Loopback, int.Parse(args is [var port, ..] ? port : "8080"));
listener.Start();
Console.WriteLine("test-workload listens");
var exit = new TaskCompletionSource<int>(TaskCreationOptions.RunContinuationsAsynchronously);
_ = AcceptAsync();
return await exit.Task;

async Task AcceptAsync()
{
    while (true)
    {
        _ = new Exchange(await listener.AcceptTcpClientAsync(), exit).RunAsync();
    }
}
