namespace Volant.Agent.Power;

/// <summary>What becomes of the machine after a shutdown.</summary>
internal enum PowerAction
{
    /// <summary>It is switched off.</summary>
    Off,

    /// <summary>It starts again; a hypervisor may end it instead.</summary>
    Restart,
}
