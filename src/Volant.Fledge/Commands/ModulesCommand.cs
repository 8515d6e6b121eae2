using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;
using System.Text.Json;
using Volant.Contracts.Boot;
using Volant.Fledge.Modules;
using Volant.Fledge.Output;

namespace Volant.Fledge.Commands;

/// <summary>What <c>fledge modules</c> wrote.</summary>
/// <param name="Artifact">Absolute path of the archive.</param>
/// <param name="Sha256">Its checksum, 64 hex digits.</param>
/// <param name="SizeBytes">Its size.</param>
/// <param name="Release">Kernel release.</param>
/// <param name="Modules">Packed modules, dependencies included.</param>
/// <param name="Builtin">Wanted modules that are part of the kernel.</param>
/// <param name="Missing">Wanted modules that this kernel does not know.</param>
internal sealed record BuiltModules(
    string Artifact,
    string Sha256,
    long SizeBytes,
    string Release,
    IReadOnlyList<string> Modules,
    IReadOnlyList<string> Builtin,
    IReadOnlyList<string> Missing);

/// <summary><c>fledge modules --root DIR --output FILE</c>, or <c>fledge modules --list</c>.</summary>
internal static class ModulesCommand
{
    /// <summary>Makes the command.</summary>
    public static Command Create(Terminal terminal)
    {
        var root = new Option<string?>("--root") { Description = "Directory that a kernel package was unpacked into (dpkg-deb -x), after depmod -b", HelpName = "DIR" };
        var release = new Option<string?>("--release") { Description = "Kernel release; default: the only one", HelpName = "RELEASE" };
        var output = new Option<string?>("--output", "-o") { Description = "Archive to write, raw cpio", HelpName = "FILE" };
        var rootDisk = new Option<bool>("--root-disk") { Description = "Also pack the file systems of root disks" };
        var keepSignatures = new Option<bool>("--keep-signatures") { Description = "Leave signed modules signed, for a kernel that takes no others; each then takes longer to load" };
        var list = new Option<bool>("--list") { Description = "Only print the names of all modules that guests may need" };
        var json = new Option<bool>("--json") { Description = "Print the result as JSON" };
        var command = new Command("modules", "Pack the kernel modules that a guest needs into an initramfs segment") { root, release, output, rootDisk, keepSignatures, list, json };
        command.Validators.Add(parsed =>
        {
            // A listing that works without the other two is what tells an old archive from a new one.
            if (!parsed.GetValue(list))
            {
                Require(parsed, root);
                Require(parsed, output);
            }
        });
        command.SetAction((parsed, cancellationToken) => FledgeApp.GuardAsync(terminal, async () =>
        {
            if (parsed.GetValue(list))
            {
                await terminal.Out.WriteAsync(string.Concat(GuestModules.All.Select(name => name + "\n")));
                return;
            }

            var built = await BuildAsync(parsed.GetValue(root)!, parsed.GetValue(release), parsed.GetValue(output)!, parsed.GetValue(rootDisk) ? GuestModules.All : GuestModules.Essential, parsed.GetValue(keepSignatures), cancellationToken);
            if (parsed.GetValue(json))
            {
                await terminal.Out.WriteLineAsync(JsonSerializer.Serialize(built, FledgeJson.Default.BuiltModules));
                return;
            }

            await terminal.Out.WriteAsync(string.Create(
                CultureInfo.InvariantCulture,
                $"artifact  {built.Artifact}\nsha256    {built.Sha256}\nsize      {built.SizeBytes} bytes, {built.Modules.Count} modules of Linux {built.Release}\n"));
            if (built.Missing.Count > 0)
            {
                await terminal.Error.WriteLineAsync($"fledge: Linux {built.Release} does not know {string.Join(", ", built.Missing)}: left out.");
            }
        }));
        return command;
    }

    private static void Require(CommandResult parsed, Option<string?> option)
    {
        if (string.IsNullOrEmpty(parsed.GetValue(option)))
        {
            parsed.AddError($"Option '{option.Name}' is required.");
        }
    }

    private static async Task<BuiltModules> BuildAsync(string root, string? release, string output, IReadOnlyList<string> wanted, bool keepSignatures, CancellationToken cancellationToken)
    {
        var directory = ModuleArchive.FindDirectory(root, release);
        var scratch = Directory.CreateTempSubdirectory("fledge-").FullName;
        try
        {
            using var file = PendingFile.Create(output);
            await using var hashed = new HashingStream(file.Stream);
            var packed = await ModuleArchive.WriteAsync(directory, wanted, keepSignatures, hashed, scratch, cancellationToken);
            file.Commit();
            return new BuiltModules(file.Path, hashed.Sha256(), hashed.Length, packed.Release, packed.Packed, packed.Builtin, packed.Missing);
        }
        finally
        {
            Directory.Delete(scratch, recursive: true);
        }
    }
}
