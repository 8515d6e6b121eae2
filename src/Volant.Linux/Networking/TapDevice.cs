using System.ComponentModel;
using System.Runtime.InteropServices;
using System.Text;
using Microsoft.Win32.SafeHandles;

namespace Volant.Linux.Networking;

/// <summary>Creates and deletes persistent taps (<c>Documentation/networking/tuntap.rst</c>) in the network namespace of this thread.</summary>
/// <remarks>Needs CAP_NET_ADMIN. A tap carries whole frames (IFF_NO_PI) with a virtio header (IFF_VNET_HDR) and one queue.</remarks>
public static partial class TapDevice
{
    private const string Tun = "/dev/net/tun";
    private const int OpenReadWrite = 0x2; // O_RDWR
    private const int OpenCloseOnExec = 0x80000; // O_CLOEXEC
    private const ushort FlagTap = 0x0002; // IFF_TAP
    private const ushort FlagNoPacketInfo = 0x1000; // IFF_NO_PI
    private const ushort FlagVirtioHeader = 0x4000; // IFF_VNET_HDR
    private const ushort FlagPersist = 0x0800; // IFF_PERSIST
    private const ushort FlagExclusive = 0x8000; // IFF_TUN_EXCL
    private const nuint SetInterfaceRequest = 0x400454ca; // TUNSETIFF
    private const nuint GetInterfaceRequest = 0x800454d2; // TUNGETIFF
    private const nuint SetPersistRequest = 0x400454cb; // TUNSETPERSIST
    private const nuint SetOwnerRequest = 0x400454cc; // TUNSETOWNER
    private const nuint SetGroupRequest = 0x400454ce; // TUNSETGROUP

    /// <summary>Creates the tap, down and in no bridge; one that exists is left as it is, in use or not.</summary>
    /// <param name="name">Name of the interface.</param>
    /// <param name="owner">User who may open it without CAP_NET_ADMIN.</param>
    /// <param name="group">Group that may.</param>
    /// <returns>Whether it was created.</returns>
    /// <exception cref="Win32Exception">
    /// EEXIST: the name belongs to something that is no tap; EPERM: needs CAP_NET_ADMIN; ENOENT or ENODEV: the kernel has no tun driver.
    /// </exception>
    public static bool Create(string name, uint? owner = null, uint? group = null)
    {
        InterfaceName.Require(name);
        using var tun = new SafeFileHandle(LinuxError.Check(Open(Tun, OpenReadWrite | OpenCloseOnExec), $"Opening {Tun}"), ownsHandle: true);
        var request = new InterfaceRequest { Flags = FlagTap | FlagNoPacketInfo | FlagVirtioHeader | FlagExclusive };
        Encoding.ASCII.GetBytes(name, request.Name);
        if (SetInterface(tun, SetInterfaceRequest, ref request) < 0)
        {
            var error = LinuxError.Last($"Creating tap '{name}'");
            return error.NativeErrorCode == Errno.Busy && Exists(name) ? false : throw error;
        }

        // The tap lives until this descriptor is closed, unless the last step succeeds: nothing half-made stays behind.
        if (owner is { } user)
        {
            LinuxError.Check(SetNumber(tun, SetOwnerRequest, user), $"Setting the owner of tap '{name}' to {user}");
        }

        if (group is { } members)
        {
            LinuxError.Check(SetNumber(tun, SetGroupRequest, members), $"Setting the group of tap '{name}' to {members}");
        }

        LinuxError.Check(SetNumber(tun, SetPersistRequest, 1), $"Making tap '{name}' persistent");
        return true;
    }

    /// <summary>Opens a persistent tap, for the one process that is to have it; takes CAP_NET_ADMIN, or to be its owner.</summary>
    /// <exception cref="Win32Exception">ENODEV: there is none of that name; EBUSY: a process has it open; EPERM.</exception>
    public static SafeFileHandle Open(string name)
    {
        InterfaceName.Require(name);
        var tun = new SafeFileHandle(LinuxError.Check(Open(Tun, OpenReadWrite | OpenCloseOnExec), $"Opening {Tun}"), ownsHandle: true);
        try
        {
            var request = new InterfaceRequest { Flags = FlagTap | FlagNoPacketInfo | FlagVirtioHeader };
            Encoding.ASCII.GetBytes(name, request.Name);
            LinuxError.Check(SetInterface(tun, SetInterfaceRequest, ref request), $"Opening tap '{name}'");
            LinuxError.Check(SetInterface(tun, GetInterfaceRequest, ref request), $"Reading tap '{name}'");

            // The kernel makes one where there is none; that one goes with this descriptor.
            return (request.Flags & FlagPersist) != 0 ? tun : throw LinuxError.Of(Errno.NoDevice, $"Opening tap '{name}'");
        }
        catch
        {
            tun.Dispose();
            throw;
        }
    }

    /// <summary>Deletes the tap, even one in use; false when there is none. Takes about 20 ms in the kernel.</summary>
    /// <exception cref="Win32Exception">EEXIST: the name belongs to something that is no tap; EPERM: needs CAP_NET_ADMIN.</exception>
    public static bool Delete(string name)
    {
        using var netlink = Netlink.Open();
        if (netlink.FindLink(name) is not { } link)
        {
            return false;
        }

        return link.IsTap ? netlink.DeleteLink(link) : throw NotTap(link);
    }

    private static bool Exists(string name)
    {
        using var netlink = Netlink.Open();
        return netlink.FindLink(name) is { } link && (link.IsTap ? true : throw NotTap(link));
    }

    private static Win32Exception NotTap(NetworkLink link) =>
        new(Errno.Exists, $"Interface '{link.Name}' is not a tap but {link.Kind ?? "hardware"}");

    [LibraryImport("libc", EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Open(string path, int flags);

    [LibraryImport("libc", EntryPoint = "ioctl", SetLastError = true)]
    private static partial int SetInterface(SafeFileHandle fd, nuint request, ref InterfaceRequest argument);

    [LibraryImport("libc", EntryPoint = "ioctl", SetLastError = true)]
    private static partial int SetNumber(SafeFileHandle fd, nuint request, nuint argument);

    /// <summary>The kernel's <c>struct ifreq</c>, 40 bytes on 64-bit Linux.</summary>
    [StructLayout(LayoutKind.Sequential, Size = 40)]
    internal struct InterfaceRequest
    {
        public NameBuffer Name;
        public ushort Flags;
    }

    /// <summary><c>char ifr_name[IFNAMSIZ]</c>.</summary>
    [System.Runtime.CompilerServices.InlineArray(InterfaceName.MaxLength + 1)]
    internal struct NameBuffer
    {
        private byte _first;
    }
}
