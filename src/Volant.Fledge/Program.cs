using Volant.Fledge.Commands;
using Volant.Fledge.Sources;

return await FledgeApp.RunAsync(
    args,
    new Terminal(Console.Out, Console.Error, !Console.IsErrorRedirected),
    ProgramDefaults.OfThisHost(),
    TimeProvider.System,
    CancellationToken.None);
