using System.Runtime.InteropServices;

namespace Volant.Linux.Networking;

/// <summary>What nftables refused. The message is its own, one line.</summary>
public sealed class NftablesException(string message) : Exception(message)
{
    /// <summary>Whether something that the command names is not there.</summary>
    public bool IsMissing => Message.Contains("No such file or directory", StringComparison.Ordinal);

    /// <summary>Whether it needs CAP_NET_ADMIN, which this process lacks.</summary>
    public bool IsNotPermitted => Message.Contains("Operation not permitted", StringComparison.Ordinal);
}

/// <summary>Packet filter rules of the kernel, by the library of the program <c>nft</c> (<c>libnftables.so.1</c>, <c>man 3 libnftables</c>).</summary>
/// <remarks>
/// Commands are those of <c>man 8 nft</c>, and all of one call happen or none. They serve the network namespace of the thread that calls.
/// The library is loaded at the first use, and not at all by programs that never call. One call at a time: the library keeps state of its own.
/// </remarks>
public static unsafe partial class Nftables
{
    private const string Library = "libnftables.so.1";
    private const uint Stateless = 1 << 2; // NFT_CTX_OUTPUT_STATELESS
    private const uint Terse = 1 << 11; // NFT_CTX_OUTPUT_TERSE

    private static readonly Lock Gate = new();
    private static bool s_isLoaded;

    /// <summary>Whether the library can be loaded; it may be installed while the program runs.</summary>
    public static bool IsAvailable => s_isLoaded || (s_isLoaded = NativeLibrary.TryLoad(Library, out _));

    /// <summary>Runs commands as one transaction.</summary>
    /// <exception cref="NftablesException">They were refused; nothing was changed.</exception>
    /// <exception cref="DllNotFoundException">See <see cref="IsAvailable"/>.</exception>
    public static void Run(string commands) => Run(commands, 0);

    /// <summary>A table as text, without counts and without the elements of its sets: the same text as long as nobody changes its rules.</summary>
    /// <inheritdoc cref="Run(string)"/>
    public static string ListRules(string family, string table) => Run($"list table {family} {table}", Stateless | Terse);

    /// <summary>The elements of a set, each as its parts: an element of type <c>ifname . ipv4_addr</c> has two. In no order.</summary>
    /// <inheritdoc cref="Run(string)"/>
    public static IReadOnlyList<string[]> ListElements(string family, string table, string set) => ParseElements(Run($"list set {family} {table} {set}", Stateless));

    /// <summary>Reads <c>elements = { "a" . 10.0.0.1, "b" . 10.0.0.2 }</c> out of a set's text; names have no comma, brace or space.</summary>
    internal static IReadOnlyList<string[]> ParseElements(string text)
    {
        const string Start = "elements = {";
        var begin = text.IndexOf(Start, StringComparison.Ordinal);
        var end = begin < 0 ? -1 : text.IndexOf('}', begin);
        return end < 0 ? [] :
        [
            .. from element in text[(begin + Start.Length)..end].Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries)
               select element.Split(" . ").Select(part => part.Trim('"')).ToArray(),
        ];
    }

    private static string Run(string commands, uint output)
    {
        lock (Gate)
        {
            var context = NewContext(0);
            if (context == 0)
            {
                throw new NftablesException("Error: the library could not be set up");
            }

            try
            {
                SetOutput(context, output);
                return BufferErrors(context) == 0 && BufferOutput(context) == 0 && RunCommands(context, commands) == 0
                    ? Text(GetOutput(context))
                    : throw new NftablesException(FirstLine(Text(GetErrors(context))));
            }
            finally
            {
                FreeContext(context);
            }
        }
    }

    private static string Text(nint text) => Marshal.PtrToStringUTF8(text) ?? string.Empty;

    // What follows is the command, with the place underlined.
    private static string FirstLine(string errors) =>
        errors.Split('\n').Select(line => line.Trim()).FirstOrDefault(line => line.Contains("rror:", StringComparison.Ordinal)) is { } line
            ? line[Math.Max(0, line.IndexOf("Error:", StringComparison.Ordinal))..]
            : "Error: no reason given";

    [LibraryImport(Library, EntryPoint = "nft_ctx_new")]
    private static partial nint NewContext(uint flags);

    [LibraryImport(Library, EntryPoint = "nft_ctx_free")]
    private static partial void FreeContext(nint context);

    [LibraryImport(Library, EntryPoint = "nft_ctx_output_set_flags")]
    private static partial void SetOutput(nint context, uint flags);

    [LibraryImport(Library, EntryPoint = "nft_ctx_buffer_output")]
    private static partial int BufferOutput(nint context);

    [LibraryImport(Library, EntryPoint = "nft_ctx_buffer_error")]
    private static partial int BufferErrors(nint context);

    [LibraryImport(Library, EntryPoint = "nft_ctx_get_output_buffer")]
    private static partial nint GetOutput(nint context);

    [LibraryImport(Library, EntryPoint = "nft_ctx_get_error_buffer")]
    private static partial nint GetErrors(nint context);

    [LibraryImport(Library, EntryPoint = "nft_run_cmd_from_buffer", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int RunCommands(nint context, string commands);
}
