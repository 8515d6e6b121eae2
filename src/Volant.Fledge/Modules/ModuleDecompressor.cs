using System.ComponentModel;
using System.IO.Compression;
using Microsoft.Win32.SafeHandles;
using Volant.Fledge.Output;
using Volant.Linux.Processes;

namespace Volant.Fledge.Modules;

/// <summary>Unpacks compressed modules: the agent gives the kernel plain ones, which every kernel accepts.</summary>
internal static class ModuleDecompressor
{
    /// <summary>Largest module, unpacked.</summary>
    public const long MaxBytes = 64L * 1024 * 1024;

    /// <summary>Path of a plain copy in <paramref name="scratch"/>, or <paramref name="file"/> itself when it is plain.</summary>
    /// <exception cref="FledgeException">The tool for the format is missing, or the file is damaged.</exception>
    public static async Task<string> PlainAsync(string file, string scratch, CancellationToken cancellationToken)
    {
        var tool = Path.GetExtension(file) switch
        {
            ".ko" => string.Empty,
            ".gz" => "gzip",
            ".xz" => "xz",
            ".zst" => "zstd",
            var other => throw new FledgeException($"The module '{file}' has the unknown extension '{other}'; expected .ko, .ko.gz, .ko.xz or .ko.zst."),
        };
        if (tool.Length == 0)
        {
            return file;
        }

        var plain = Path.Combine(scratch, $"{Guid.NewGuid():N}.ko");
        if (tool == "gzip")
        {
            await UnzipAsync(file, plain, cancellationToken);
        }
        else
        {
            await RunAsync(tool, file, plain, cancellationToken);
        }

        return plain;
    }

    private static async Task UnzipAsync(string file, string plain, CancellationToken cancellationToken)
    {
        try
        {
            await using var source = new GZipStream(File.OpenRead(file), CompressionMode.Decompress);
            await using var target = File.Create(plain);
            var buffer = new byte[64 * 1024];
            int read;
            while ((read = await source.ReadAsync(buffer, cancellationToken)) > 0)
            {
                await target.WriteAsync(buffer.AsMemory(0, read), cancellationToken);
                CheckSize(target.Length, file);
            }
        }
        catch (InvalidDataException e)
        {
            throw new FledgeException($"The module '{file}' is damaged: {e.Message}", e);
        }
    }

    private static async Task RunAsync(string tool, string file, string plain, CancellationToken cancellationToken)
    {
        var program = ToolProgram.Find(tool)?.Path
            ?? throw new FledgeException($"The module '{file}' is compressed, but the program '{tool}' is missing; install the package {(tool == "xz" ? "xz-utils" : tool)}.");
        using SafeFileHandle input = File.OpenHandle(file), output = File.OpenHandle(plain, FileMode.CreateNew, FileAccess.Write);
        ProcessExit exit;
        try
        {
            var pid = ProcessSpawner.Spawn(new SpawnRequest
            {
                Arguments = [program, "-dc"],
                StandardInput = input,
                StandardOutput = output,
            });
            exit = await ToolProgram.WaitAsync(pid, cancellationToken);
        }
        catch (Win32Exception e)
        {
            throw new FledgeException($"Cannot start '{program}': {e.Message}", e);
        }

        if (exit.ExitCode != 0)
        {
            throw new FledgeException($"'{program}' could not unpack the module '{file}' (exit code {exit.ExitCode}); the file is damaged.");
        }

        CheckSize(RandomAccess.GetLength(output), file);
    }

    private static void CheckSize(long size, string file)
    {
        if (size > MaxBytes)
        {
            throw new FledgeException($"The module '{file}' unpacks to more than {MaxBytes} bytes, which no module needs.");
        }
    }
}
