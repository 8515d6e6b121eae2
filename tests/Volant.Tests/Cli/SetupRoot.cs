using System.Globalization;
using System.Text;
using Volant.Linux.IO;
using Volant.Linux.Processes;

namespace Volant.Tests.Cli;

/// <summary>A directory that stands for the root of a host: with accounts, small programs that keep them, and a systemd that only writes down what it is told.</summary>
internal sealed class SetupRoot : IDisposable
{
    public SetupRoot(bool systemd = false)
    {
        Path = Directory.CreateTempSubdirectory("volar-setup-").FullName;
        foreach (var directory in new[] { "etc/sysctl.d", "etc/systemd/system", "usr/sbin", "usr/bin", "usr/lib/volant", "usr/lib/systemd/system", "proc/sys/net/ipv4", "run", "var/lib", "var/log" })
        {
            Directory.CreateDirectory(At(directory));
        }

        Write("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n");
        Write("etc/group", "root:x:0:\nkvm:x:78:\n");
        Write("proc/sys/net/ipv4/ip_forward", "0\n");
        var user = string.Create(CultureInfo.InvariantCulture, $"{(EffectiveUser.Id == 0 ? 990 : EffectiveUser.Id)}");
        var group = EffectiveUser.Id == 0 ? "990" : string.Create(CultureInfo.InvariantCulture, $"{LinkStatus.Find(Path)!.Value.Gid}");
        Program("usr/sbin/useradd", $"""
            echo 'volant:x:{user}:{group}::/var/lib/volant:/usr/sbin/nologin' >>$root/etc/passwd
            echo 'volant:x:{group}:' >>$root/etc/group
            """);
        Program("usr/sbin/usermod", "sed -i 's/^kvm:.*/kvm:x:78:volant/' $root/etc/group");
        Program("usr/sbin/userdel", "sed -i '/^volant:/d' $root/etc/passwd $root/etc/group; sed -i 's/^kvm:.*/kvm:x:78:/' $root/etc/group");
        Program("usr/sbin/gpasswd", "sed -i 's/^kvm:.*/kvm:x:78:/' $root/etc/group");
        Program("usr/lib/volant/volantd", "exit 0");
        if (systemd)
        {
            Directory.CreateDirectory(At("run/systemd/system"));
            Program("usr/bin/systemctl", """
                case $1 in
                    is-enabled) [ -e $root/enabled ] ;;
                    is-active) [ -e $root/active ] ;;
                    enable) : >$root/enabled ;;
                    restart) : >$root/active ;;
                    disable) rm -f $root/enabled $root/active ;;
                esac
                """);
        }
    }

    public string Path { get; }

    /// <summary>Calls of the programs, without questions.</summary>
    public IReadOnlyList<string> Calls => File.Exists(At("calls")) ? [.. File.ReadAllLines(At("calls")).Where(call => !call.Contains(" is-", StringComparison.Ordinal) && !call.Contains("--check", StringComparison.Ordinal))] : [];

    public string At(string path) => System.IO.Path.Combine(Path, path.TrimStart('/'));

    public void Write(string path, string text) => File.WriteAllText(At(path), text);

    public string Read(string path) => File.ReadAllText(At(path));

    /// <summary>Puts a program there; <c>$root</c> is this directory.</summary>
    public void Program(string path, string script) =>
        TestProgram.Write(At(path), $"#!/bin/sh\nroot={Path}\necho \"$(basename $0) $*\" >>$root/calls\n{script}\n");

    public Task<CliResult> RunAsync(params string[] args) => new TestCli { Root = Path }.RunAsync(["setup", .. args]);

    /// <summary>Everything in it: name, kind, mode, owner and content.</summary>
    public string Snapshot()
    {
        var text = new StringBuilder();
        foreach (var path in Directory.EnumerateFileSystemEntries(Path, "*", SearchOption.AllDirectories).Order(StringComparer.Ordinal).Where(path => path != At("calls")))
        {
            var status = LinkStatus.Find(path)!.Value;
            text.Append(CultureInfo.InvariantCulture, $"{path[Path.Length..]} {status.Kind} {Convert.ToString(status.Mode, 8)} {status.Uid} {status.Gid}\n");
            if (status.Kind == LinkKind.File)
            {
                text.Append(File.ReadAllText(path)).Append("\n--\n");
            }
        }

        return text.ToString();
    }

    public void Dispose() => Directory.Delete(Path, recursive: true);
}
