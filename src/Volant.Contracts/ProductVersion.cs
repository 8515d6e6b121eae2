namespace Volant.Contracts;

/// <summary>The version of Volant.</summary>
public static class ProductVersion
{
    /// <summary>Major, minor and patch. A constant: asking the assembly starts reflection, which an emulated guest notices at every boot. A test compares both.</summary>
    public const string Text = "0.1.0";
}
