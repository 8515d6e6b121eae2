using System.CommandLine;

namespace Volant.Cli.Commands;

/// <summary><c>volar completion</c>: a script for the shell that asks this program what may come next.</summary>
internal static class CompletionCommand
{
    private const string Bash = """
        # bash completion of volar: source <(volar completion bash)
        _volar() {
            local word=${COMP_WORDS[COMP_CWORD]} line
            COMPREPLY=()
            while IFS= read -r line; do
                COMPREPLY+=("$line")
            done < <("${COMP_WORDS[0]}" "[suggest:${COMP_POINT}]" "${COMP_LINE}" 2>/dev/null)
            [ ${#COMPREPLY[@]} -gt 0 ] || [[ $word == -* ]] || { compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$word"); }
        }
        complete -F _volar volar

        """;

    private const string Zsh = """
        #compdef volar
        # zsh completion of volar: source <(volar completion zsh)
        _volar() {
            local line="${(j: :)words[1,CURRENT]}"
            local -a words_found
            words_found=("${(@f)$(volar "[suggest:${#line}]" "$line" 2>/dev/null)}")
            if [[ -n "${words_found[1]}" ]]; then
                compadd -a words_found
            else
                _files
            fi
        }
        # Loaded from a file in $fpath, this is the first call; sourced, it is not.
        if [[ "${funcstack[1]}" == _volar ]]; then
            _volar "$@"
        else
            compdef _volar volar
        fi

        """;

    private const string Fish = """
        # fish completion of volar: volar completion fish | source
        function __volar_complete
            set -l line (commandline -cp)
            set -l found (volar "[suggest:"(string length -- "$line")"]" "$line" 2>/dev/null)
            if test (count $found) -gt 0
                printf '%s\n' $found
            else if not string match -q -- '-*' (commandline -ct)
                __fish_complete_path (commandline -ct)
            end
        end
        complete -c volar -f -a '(__volar_complete)'

        """;

    /// <summary>Shells that there is a script for.</summary>
    public static string[] Shells { get; } = ["bash", "fish", "zsh"];

    /// <summary>Makes the command.</summary>
    public static Command Create(CommandScope scope)
    {
        var shell = new Argument<string>("SHELL") { Description = "bash, zsh or fish", HelpName = "bash|zsh|fish" };
        shell.AcceptOnlyFromAmong(Shells);
        return scope.Define(
            "completion",
            "Print a script that completes commands, options and names; for bash: source <(volar completion bash)",
            [shell],
            ["volar completion bash", "volar completion fish"],
            (parsed, run, _) =>
            {
                Print(run.Output, parsed.GetRequiredValue(shell));
                return Task.FromResult(ExitCodes.Ok);
            });
    }

    private static void Print(TextWriter output, string shell) => output.Write(shell switch
    {
        "bash" => Bash,
        "zsh" => Zsh,
        _ => Fish,
    });
}
