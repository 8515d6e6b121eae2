using Volant.Cli;

var interrupts = new InterruptSource();
return await Volar.RunAsync(args, CliHost.FromProcess(interrupts), interrupts.Token);
