namespace Volant.Cli.Setup;

/// <summary>The systemd unit of <c>volantd</c>, and the kernel's settings beside it.</summary>
/// <remarks>
/// Measured with <c>systemd-analyze security --offline=true</c>; a test holds it at 4.4 or less. What is left open, and why: docs/adr/0018.
/// </remarks>
internal static class ServiceUnit
{
    /// <summary>Setting of the kernel without which guests reach no other host.</summary>
    public const string ForwardingFile = "/proc/sys/net/ipv4/ip_forward";

    /// <summary>The file that sets it at every boot (<c>sysctl.d(5)</c>).</summary>
    public const string Sysctl = """
        # Written by 'volar setup'. Guests of bridged VMs reach other hosts through this one.
        net.ipv4.ip_forward = 1

        """;

    private const string Sandbox = """
        # Bridge, taps and packet filter; published ports below 1024. Of the programs that the daemon starts only dnsmasq has these two.
        AmbientCapabilities=CAP_NET_ADMIN CAP_NET_BIND_SERVICE
        CapabilityBoundingSet=CAP_NET_ADMIN CAP_NET_BIND_SERVICE
        # To give each hypervisor a user, files and devices of its own, and to end it. No program that the daemon starts has any of them.
        AmbientCapabilities=CAP_SETUID CAP_SETGID CAP_CHOWN CAP_DAC_OVERRIDE CAP_KILL CAP_MKNOD CAP_SYS_ADMIN
        CapabilityBoundingSet=CAP_SETUID CAP_SETGID CAP_CHOWN CAP_DAC_OVERRIDE CAP_KILL CAP_MKNOD CAP_SYS_ADMIN
        RestrictNamespaces=mnt ipc
        SystemCallFilter=@system-service @mount
        NoNewPrivileges=yes

        # What hypervisors confine themselves with: without seccomp QEMU does not start.
        SystemCallFilter=seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self

        # All of this holds for hypervisors, too. Not here: ProtectControlGroups and ProtectProc, because each has a control group of its own and
        # is watched; MemoryDenyWriteExecute, because QEMU translates code when it emulates; ProtectKernelTunables, because /proc/sys/net says how
        # the bridge behaves; and RestrictSUIDSGID, which takes openat2 away, by which volantd looks up paths safely.
        ProtectSystem=strict
        ProtectHome=yes
        ProtectClock=yes
        ProtectHostname=yes
        ProtectKernelLogs=yes
        ProtectKernelModules=yes
        PrivateTmp=yes
        PrivateMounts=yes
        DevicePolicy=closed
        # /dev/kvm, /dev/net/tun, /dev/vhost-net and /dev/vhost-vsock, whose numbers are fixed (linux/miscdevice.h): by name those would be left out
        # that are not there yet when the service starts.
        DeviceAllow=/dev/char/10:232 rwm
        DeviceAllow=/dev/char/10:200 rwm
        DeviceAllow=/dev/char/10:238 rwm
        DeviceAllow=/dev/char/10:241 rwm
        KeyringMode=private
        LockPersonality=yes
        RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK AF_VSOCK
        RestrictRealtime=yes
        SystemCallArchitectures=native
        SystemCallErrorNumber=EPERM
        """;

    /// <summary>The unit (<c>systemd.service(5)</c>, <c>systemd.exec(5)</c>).</summary>
    /// <param name="settings">Checked: no value needs a quotation.</param>
    public static string Text(SetupSettings settings) => $"""
        # Written by 'volar setup' or a package. To change something: systemctl edit {settings.ServiceName}
        [Unit]
        Description=Volant daemon (microVMs)
        After=network.target
        StartLimitIntervalSec=300
        StartLimitBurst=10

        [Service]
        Type=notify
        ExecStart={settings.Daemon}
        Environment=VOLANT_DB_PATH={settings.StateDirectory}/state.db
        Environment=VOLANT_RUNTIME_DIR={settings.RuntimeDirectory}
        Environment=VOLANT_LOG_DIR={settings.LogDirectory}
        EnvironmentFile=-{SetupSettings.EnvironmentPath}

        # Hypervisors are children of the daemon. Stopping it, or its crash, touches no VM: the next one takes them over.
        KillMode=process
        OOMPolicy=continue
        Restart=always
        RestartSec=1
        # 78: a setting is bad, and another start does not make it better.
        RestartPreventExitStatus=78
        TimeoutStartSec=90
        TimeoutStopSec=30

        User={SetupSettings.User}
        Group={SetupSettings.User}
        UMask=0077
        {Directories(settings)}
        LimitCORE=0
        LimitNOFILE=65536
        # Hypervisors count here.
        TasksMax=infinity

        {Sandbox}

        [Install]
        WantedBy=multi-user.target

        """;

    /// <summary>Directories that systemd makes and gives to the service; for those in other places only that they may be written.</summary>
    private static string Directories(SetupSettings settings) => string.Join('\n', new[]
    {
        Directory("StateDirectory", "/var/lib/", settings.StateDirectory, "0700"),
        Directory("RuntimeDirectory", "/run/", settings.RuntimeDirectory, "0750") + (settings.RuntimeDirectory.StartsWith("/run/", StringComparison.Ordinal) ? "\nRuntimeDirectoryPreserve=yes" : string.Empty),
        Directory("LogsDirectory", "/var/log/", settings.LogDirectory, "0750"),
    });

    private static string Directory(string setting, string parent, string path, string mode) => path.StartsWith(parent, StringComparison.Ordinal)
        ? $"{setting}={path[parent.Length..]}\n{setting}Mode={mode}"
        : $"ReadWritePaths={path}";
}
