using System.Runtime.InteropServices;
using Volant.Cli;

// The first signal cancels, so that the command can say what goes on without it; the second one kills.
using var interrupted = new CancellationTokenSource();
using var onInterrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, Cancel);
using var onTerminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Cancel);
return await Volar.RunAsync(args, CliHost.FromProcess(), interrupted.Token);

void Cancel(PosixSignalContext signal)
{
    signal.Cancel = !interrupted.IsCancellationRequested;
    interrupted.Cancel();
}
