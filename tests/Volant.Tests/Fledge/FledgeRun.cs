using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Volant.Fledge.Commands;
using Volant.Fledge.Sources;

namespace Volant.Tests.Fledge;

/// <summary>What a command line of fledge printed and returned.</summary>
internal sealed record FledgeRun(int ExitCode, string Out, string Error)
{
    /// <summary>Runs a command line in this process; agent and busybox come from the tree.</summary>
    public static Task<FledgeRun> RunAsync(TempTree tree, params string[] arguments) =>
        RunAsync(tree, TestContext.Current.CancellationToken, arguments);

    public static async Task<FledgeRun> RunAsync(TempTree tree, CancellationToken cancellationToken, params string[] arguments)
    {
        using StringWriter output = new(), error = new();
        var defaults = new ProgramDefaults([tree["programs/kestrel"]], [tree["programs/busybox"]], tree["cache"], tree["registries.conf"]);
        var code = await FledgeApp.RunAsync(arguments, new Terminal(output, error, ErrorIsTerminal: false), defaults, TimeProvider.System, cancellationToken);
        return new FledgeRun(code, output.ToString(), error.ToString());
    }

    /// <summary>A tree with a static agent, a static busybox that knows <c>sh</c> and <c>httpd</c>, a build file and an output directory.</summary>
    public static TempTree Project(string config = "", string? manifest = null)
    {
        var tree = new TempTree();
        tree.Write("programs/kestrel", StaticElf("agent"));
        tree.Write("programs/busybox", StaticElf("[\0httpd\0sh\0"));
        tree.Write("project/fledge.toml", config.StartsWith("version", StringComparison.Ordinal) ? config : $"version = \"1\"\nstrategy = \"initramfs\"\n{config}");
        tree.Make("out");
        if (manifest is not null)
        {
            tree.Write("project/manifest.toml", manifest);
        }

        return tree;
    }

    /// <summary>Builds a raw archive from the project, which must succeed, and reads it.</summary>
    public static async Task<List<NewcMember>> BuildAsync(TempTree tree)
    {
        var run = await RunAsync(tree, "build", tree["project"], "--output", tree["out/x.cpio"]);
        Assert.Equal((0, string.Empty), (run.ExitCode, run.Error.Replace($"fledge: no manifest.toml beside '{tree["project/fledge.toml"]}': the artifact has no manifest.\n", string.Empty, StringComparison.Ordinal)));
        return Newc.Read(await File.ReadAllBytesAsync(tree["out/x.cpio"], TestContext.Current.CancellationToken));
    }

    /// <summary>The smallest thing that passes for a static program of this machine.</summary>
    public static byte[] StaticElf(string payload, uint segment = 1, ushort? machine = null)
    {
        var bytes = new byte[64 + 56 + 1 + payload.Length];
        "\u007fELF\u0002\u0001\u0001"u8.CopyTo(bytes);
        BinaryPrimitives.WriteUInt16LittleEndian(bytes.AsSpan(16), 2);
        BinaryPrimitives.WriteUInt16LittleEndian(bytes.AsSpan(18), machine ?? (RuntimeInformation.OSArchitecture == Architecture.Arm64 ? (ushort)183 : (ushort)62));
        BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(24), 0x400000);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(32), 64);
        BinaryPrimitives.WriteUInt16LittleEndian(bytes.AsSpan(54), 56);
        BinaryPrimitives.WriteUInt16LittleEndian(bytes.AsSpan(56), 1);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(64), segment);
        System.Text.Encoding.ASCII.GetBytes(payload, bytes.AsSpan(64 + 56 + 1));
        return bytes;
    }
}
