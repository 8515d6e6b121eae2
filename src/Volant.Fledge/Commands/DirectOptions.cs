using System.CommandLine;
using Volant.Fledge.Configuration;
using Volant.Fledge.Oci;

namespace Volant.Fledge.Commands;

/// <summary>Options of a build without a build file: <c>fledge build ./Dockerfile</c>, <c>fledge build docker://NAME</c>.</summary>
internal sealed class DirectOptions
{
    /// <summary><c>--context</c>.</summary>
    public Option<string?> Context { get; } = new("--context") { Description = "Of a Dockerfile: directory that it copies from; default: its own", HelpName = "DIR" };

    /// <summary><c>--target</c>.</summary>
    public Option<string?> Target { get; } = new("--target") { Description = "Of a Dockerfile: stage to build; default: the last", HelpName = "STAGE" };

    /// <summary><c>--build-arg</c>.</summary>
    public Option<string[]> Arguments { get; } = new("--build-arg") { Description = "Of a Dockerfile: value of an ARG", HelpName = "NAME=VALUE" };

    /// <summary><c>--output-initramfs</c>.</summary>
    public Option<bool> IsInitramfs { get; } = new("--output-initramfs") { Description = "Of a Dockerfile or image: make an initramfs instead of a root disk" };

    /// <summary>What to build from an image or a Dockerfile; null when it is neither.</summary>
    /// <exception cref="FledgeException">An argument has no name, or the image's name is malformed.</exception>
    public BuildConfig? Find(ParseResult parsed, string what)
    {
        if (ImageReference.HasPrefix(what))
        {
            try
            {
                return Config(parsed, Directory.GetCurrentDirectory(), new ImageInput.Finished(ImageReference.Parse(Refuse(parsed, what, exceptInitramfs: true), Directory.GetCurrentDirectory())));
            }
            catch (FormatException e)
            {
                throw new FledgeException([$"The image '{what}' {e.Message}."], ExitCodes.Usage, e);
            }
        }

        return File.Exists(what) && Path.GetExtension(what) != ".toml" ? Config(parsed, Path.GetDirectoryName(Path.GetFullPath(what)) ?? "/", Dockerfile(parsed, Path.GetFullPath(what))) : null;
    }

    /// <summary>Passes a build file on unless one of these options is given with it.</summary>
    /// <exception cref="FledgeException">One is.</exception>
    public string Refuse(ParseResult parsed, string what, bool exceptInitramfs = false)
    {
        var used = new Option[] { Context, Target, Arguments, IsInitramfs }.Where(option => parsed.GetResult(option) is { Implicit: false } && !(exceptInitramfs && option == IsInitramfs)).Select(option => option.Name).ToArray();
        return used.Length == 0
            ? what
            : throw new FledgeException([.. used.Select(name => $"{name} belongs to a Dockerfile, and '{what}' is none; write it into the build file, or give the Dockerfile.")], ExitCodes.Usage);
    }

    private BuildConfig Config(ParseResult parsed, string directory, ImageInput image) => new(
        directory, new InitChoice(InitMode.Agent), new ProgramSource.Default(), null, [], image, parsed.GetValue(IsInitramfs) ? null : FilesystemChoice.Default);

    private ImageInput.Dockerfile Dockerfile(ParseResult parsed, string file)
    {
        var arguments = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var argument in parsed.GetValue(Arguments) ?? [])
        {
            // As with docker, a name alone takes its value from the environment.
            var (name, value) = argument.Split('=', 2) is [var before, var after] ? (before, after) : (argument, Environment.GetEnvironmentVariable(argument));
            if (!BuildArguments.IsName(name))
            {
                throw new FledgeException([$"--build-arg '{argument}' {BuildArguments.Rule}."], ExitCodes.Usage);
            }

            if (value is not null)
            {
                arguments[name] = value;
            }
        }

        var context = Path.TrimEndingDirectorySeparator(Path.GetFullPath(parsed.GetValue(Context) ?? Path.GetDirectoryName(file) ?? "/"));
        return new ImageInput.Dockerfile(file, context, parsed.GetValue(Target), arguments);
    }
}
