namespace Volant.Linux.Kernel;

/// <summary>What <c>/proc/cpuinfo</c> tells of a processor (x86: the line <c>flags</c>).</summary>
public static class CpuFeatures
{
    /// <summary>Whether the processor offers virtualisation: Intel's (<c>vmx</c>) or AMD's (<c>svm</c>).</summary>
    /// <remarks>
    /// <c>/dev/kvm</c> alone says too little: in a VM that was given none of the processor's virtualisation, KVM may emulate it in
    /// software; QEMU then aborts on a register that is missing, or guests that do not know of it hang.
    /// </remarks>
    /// <param name="cpuinfo">Content of the file.</param>
    public static bool HaveVirtualisation(string cpuinfo)
    {
        ArgumentNullException.ThrowIfNull(cpuinfo);
        return cpuinfo.Split('\n').Where(line => line.StartsWith("flags", StringComparison.Ordinal))
            .Any(line => line.Split([' ', '\t', ':'], StringSplitOptions.RemoveEmptyEntries).Any(word => word is "vmx" or "svm"));
    }
}
