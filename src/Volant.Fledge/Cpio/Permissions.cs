namespace Volant.Fledge.Cpio;

/// <summary>Permission bits that fledge itself gives, by their octal names (C# has no octal literals).</summary>
internal static class Permissions
{
    /// <summary>0755: programs, libraries, most directories.</summary>
    public const int Octal0755 = 0x1ED;

    /// <summary>0644: data.</summary>
    public const int Octal0644 = 0x1A4;

    /// <summary>0555: mount points of virtual file systems.</summary>
    public const int Octal0555 = 0x16D;

    /// <summary>0700: root's own.</summary>
    public const int Octal0700 = 0x1C0;

    /// <summary>01777: directories that everyone writes to.</summary>
    public const int Octal1777 = 0x3FF;

    /// <summary>0777, the bits that are not set-ID or sticky.</summary>
    public const int Access = 0x1FF;

    /// <summary>06000: set-user-ID and set-group-ID.</summary>
    public const int SetId = 0xC00;

    /// <summary>0111: executable by anyone.</summary>
    public const int AnyExecute = 0x49;
}
