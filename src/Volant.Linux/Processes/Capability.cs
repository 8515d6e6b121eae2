namespace Volant.Linux.Processes;

/// <summary>A right of root's that can be had alone (<c>man 7 capabilities</c>, <c>linux/capability.h</c>).</summary>
public enum Capability
{
    /// <summary>Give files away.</summary>
    Chown = 0,

    /// <summary>Files of others, whatever their mode.</summary>
    DacOverride = 1,

    /// <summary>Signals to processes of others.</summary>
    Kill = 5,

    /// <summary>Become another group.</summary>
    SetGid = 6,

    /// <summary>Become another user.</summary>
    SetUid = 7,

    /// <summary>Ports below 1024.</summary>
    NetBindService = 10,

    /// <summary>Interfaces, addresses, neighbours and rules of the network.</summary>
    NetAdmin = 12,

    /// <summary>Mounts, and name spaces of them.</summary>
    SysAdmin = 21,

    /// <summary>Nodes of devices.</summary>
    Mknod = 27,
}
