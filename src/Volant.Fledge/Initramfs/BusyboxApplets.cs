namespace Volant.Fledge.Initramfs;

/// <summary>The busybox commands that get a link in the guest, by customary directory.</summary>
/// <remarks>
/// Only those that the given busybox contains are linked: its table of command names holds each between two NULs. Looking there instead of running
/// <c>busybox --list</c> means that a downloaded program is never executed on the host.
/// </remarks>
internal static class BusyboxApplets
{
    private static readonly Dictionary<string, string> ByDirectory = new(StringComparer.Ordinal)
    {
        ["/bin"] =
            "ash base64 cat chgrp chmod chown cp cpio cttyhack date dd df dmesg dnsdomainname echo ed egrep false fgrep getopt grep gunzip gzip " +
            "hostname ionice ipcalc kill link ln login ls mkdir mknod mktemp more mount mv netstat nice nuke pidof ping ping6 printenv ps pwd readlink rev " +
            "rm rmdir run-parts sed setpriv sh sleep stat stty su sync tar touch true umount uname usleep vi watch zcat",
        ["/sbin"] =
            "arp blockdev fdisk findfs fstrim getty halt hwclock ifconfig ifdown ifup insmod ip ipneigh klogd loadkmap logread losetup lsmod mdev " +
            "mke2fs mkswap modinfo modprobe nameif pivot_root poweroff reboot rmmod route start-stop-daemon sulogin swapoff swapon switch_root sysctl " +
            "syslogd tc tunctl udhcpc uevent vconfig watchdog",
        ["/usr/bin"] =
            "[ [[ ar awk basename bc bunzip2 bzcat bzip2 cal clear cmp comm crontab cut dc diff dirname dos2unix du env expand expr factor fallocate find " +
            "flock fold free fuser groups head hexdump hostid id install killall last less logger logname lsof lzcat md5sum mesg microcom mkfifo nc nl " +
            "nohup nproc nsenter nslookup od openvt passwd paste patch pgrep pkill printf pstree realpath renice reset seq setsid sha1sum sha256sum " +
            "sha3sum sha512sum shred shuf sort split ssl_client strings sum tac tail taskset tee telnet test tftp time timeout top tr traceroute " +
            "traceroute6 truncate ts tty unexpand uniq unix2dos unlink unlzma unshare unxz unzip uptime uudecode uuencode wc wget which who whoami " +
            "xargs xxd xz xzcat yes",
        ["/usr/sbin"] = "addgroup adduser arping brctl chroot crond delgroup deluser fsfreeze httpd nologin rdate setfont telnetd udhcpd",
    };

    /// <summary>Paths of the links for the commands that <paramref name="busybox"/> contains, sorted.</summary>
    public static IEnumerable<string> Links(ReadOnlyMemory<byte> busybox) =>
        (from directory in ByDirectory
         from name in directory.Value.Split(' ')
         where busybox.Span.IndexOf(System.Text.Encoding.ASCII.GetBytes($"\0{name}\0")) >= 0
         select $"{directory.Key}/{name}").Order(StringComparer.Ordinal);
}
