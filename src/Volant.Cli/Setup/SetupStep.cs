namespace Volant.Cli.Setup;

/// <summary>How it stands with something that setup sees to.</summary>
internal enum StepState
{
    /// <summary>As it should be.</summary>
    Unchanged,

    /// <summary>To be done.</summary>
    Pending,

    /// <summary>Not as it should be, but not setup's to change.</summary>
    Kept,

    /// <summary>It cannot be done here.</summary>
    Skipped,
}

/// <summary>What a look at the host found.</summary>
/// <param name="State">How it stands.</param>
/// <param name="Verb">What is to be done, a word that forms its past with <c>d</c>; null when nothing is.</param>
/// <param name="Detail">More about it, for people.</param>
internal sealed record StepView(StepState State, string? Verb = null, string? Detail = null)
{
    /// <summary>As it should be.</summary>
    public static StepView Unchanged { get; } = new(StepState.Unchanged);

    /// <summary>Something is to be done.</summary>
    public static StepView Pending(string verb, string? detail = null) => new(StepState.Pending, verb, detail);

    /// <summary>It stays as it is.</summary>
    public static StepView Kept(string detail) => new(StepState.Kept, null, detail);

    /// <summary>It is left out.</summary>
    public static StepView Skipped(string detail) => new(StepState.Skipped, null, detail);

    /// <summary>A word for people and programs.</summary>
    /// <param name="done">Whether the step has been taken, and not only looked at.</param>
    public string Word(bool done) => State switch
    {
        StepState.Unchanged => "unchanged",
        StepState.Pending => done ? Verb + "d" : "would " + Verb,
        StepState.Kept => "kept",
        _ => "skipped",
    };
}

/// <summary>One thing that setup sees to. It is looked at first, and changed only when it is pending: so a second run changes nothing, and a trial run only looks.</summary>
/// <param name="Subject">What it is about: a path, a user, a unit.</param>
/// <param name="LookAsync">Finds how it stands. Changes nothing.</param>
/// <param name="ApplyAsync">Makes it so; records it first. Called only when pending.</param>
internal sealed record SetupStep(string Subject, Func<CancellationToken, Task<StepView>> LookAsync, Func<CancellationToken, Task> ApplyAsync)
{
    /// <summary>What happens when the look finds something that stays as it is for good; null for nothing.</summary>
    public Action? OnKept { get; init; }

    /// <summary>A step that does not run programs.</summary>
    public static SetupStep Of(string subject, Func<StepView> look, Action apply) => new(
        subject,
        _ => Task.FromResult(look()),
        _ =>
        {
            apply();
            return Task.CompletedTask;
        });
}

/// <summary>A step with what was found and whether it was taken.</summary>
internal sealed record StepResult(string Subject, StepView View, bool Done)
{
    /// <summary>Takes steps one after another, or only looks.</summary>
    /// <param name="steps">The steps.</param>
    /// <param name="dryRun">Whether nothing may be changed.</param>
    /// <param name="tell">Told of each step as soon as it is settled.</param>
    /// <param name="cancellationToken">Cancelled by the user; what has been done until then stays, and another run goes on there.</param>
    /// <exception cref="CliException">A step failed; those before it stay.</exception>
    public static async Task RunAsync(IEnumerable<SetupStep> steps, bool dryRun, Action<StepResult> tell, CancellationToken cancellationToken)
    {
        foreach (var step in steps)
        {
            cancellationToken.ThrowIfCancellationRequested();
            var view = await step.LookAsync(cancellationToken);
            var take = view.State == StepState.Pending && !dryRun;
            if (take)
            {
                await step.ApplyAsync(cancellationToken);
            }
            else if (view.State == StepState.Kept && !dryRun)
            {
                step.OnKept?.Invoke();
            }

            tell(new StepResult(step.Subject, view, take));
        }
    }
}
