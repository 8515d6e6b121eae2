using System.Runtime.CompilerServices;
using Volant.Linux.Files;

namespace Volant.Tests.Linux;

public sealed class SafePathTests : IDisposable
{
    private readonly TemporaryDirectory _directory = new();
    private readonly string _root;

    public SafePathTests()
    {
        _root = _directory["root"];
        Directory.CreateDirectory(Path.Combine(_root, "sub"));
        File.WriteAllText(_directory["secret"], "secret");
        File.WriteAllText(Path.Combine(_root, "file"), "content");
    }

    public void Dispose() => _directory.Dispose();

    [Fact]
    public void Structures_have_the_sizes_of_the_kernel()
    {
        Assert.Equal(24, Unsafe.SizeOf<SafePath.OpenHow>());
        Assert.Equal(256, Unsafe.SizeOf<FileStatus>());
    }

    [Theory]
    [InlineData("file")]
    [InlineData("./file")]
    [InlineData("sub/../file")]
    [InlineData("sub/link")]
    public void A_file_below_the_root_is_opened(string path)
    {
        File.CreateSymbolicLink(Path.Combine(_root, "sub/link"), "../file");

        using var file = SafePath.OpenBeneath(_root, path);

        using var reader = new StreamReader(new FileStream(file, FileAccess.Read));
        Assert.Equal("content", reader.ReadToEnd());
        Assert.Equal(Path.Combine(_root, "file"), SafePath.RealPath(file));
    }

    [Theory]
    [InlineData("")]
    [InlineData("/")]
    [InlineData("//")]
    public void An_absolute_path_may_begin_with_the_root(string end)
    {
        using var file = SafePath.OpenBeneath(_root + end, $"{_root}/{end}file");

        Assert.False(file.IsInvalid);
        Assert.Contains("flags:\t02100000", File.ReadAllText($"/proc/self/fdinfo/{file.DangerousGetHandle()}"), StringComparison.Ordinal);
    }

    [Fact]
    public void Paths_that_lead_out_are_refused()
    {
        File.CreateSymbolicLink(Path.Combine(_root, "up"), "../secret");
        File.CreateSymbolicLink(Path.Combine(_root, "absolute"), _directory["secret"]);
        File.CreateSymbolicLink(Path.Combine(_root, "absolute-inside"), Path.Combine(_root, "file"));
        File.CreateSymbolicLink(Path.Combine(_root, "parent"), "..");
        Directory.CreateDirectory(_root + "-evil");
        File.WriteAllText(_root + "-evil/file", "evil");
        string[] paths =
        [
            "../secret", "sub/../../secret", "up", "absolute", "absolute-inside", "parent/secret", "sub/../../root/file",
            _directory["secret"], _root + "/../secret", _root + "-evil/file", _root, _root + "/", "/etc/passwd", "/",
        ];

        Assert.All(paths, path => Assert.Equal(SafePathFault.OutsideRoot, Fault(path)));
    }

    [Theory]
    [InlineData("missing", SafePathFault.NotFound)]
    [InlineData("file/child", SafePathFault.NotFound)]
    [InlineData("", SafePathFault.NotFound)]
    [InlineData("a\0b", SafePathFault.NotFound)]
    [InlineData("sub", SafePathFault.NotRegularFile)]
    [InlineData(".", SafePathFault.NotRegularFile)]
    public void Every_fault_has_its_name(string path, SafePathFault fault) => Assert.Equal(fault, Fault(path));

    [Fact]
    public void A_name_that_is_too_long_is_not_found() => Assert.Equal(SafePathFault.NotFound, Fault(new string('a', 5000)));

    [Fact]
    public void Links_in_a_circle_are_refused()
    {
        File.CreateSymbolicLink(Path.Combine(_root, "a"), "b");
        File.CreateSymbolicLink(Path.Combine(_root, "b"), "a");

        Assert.Equal(SafePathFault.TooManyLinks, Fault("a"));
    }

    [Fact]
    public void A_socket_is_not_a_regular_file()
    {
        using var socket = new System.Net.Sockets.Socket(
            System.Net.Sockets.AddressFamily.Unix, System.Net.Sockets.SocketType.Stream, System.Net.Sockets.ProtocolType.Unspecified);
        socket.Bind(new System.Net.Sockets.UnixDomainSocketEndPoint(Path.Combine(_root, "socket")));

        Assert.Equal(SafePathFault.NotRegularFile, Fault("socket"));
    }

    [Fact]
    public void A_device_is_not_a_regular_file() =>
        Assert.Equal(SafePathFault.NotRegularFile, Assert.Throws<SafePathException>(() => SafePath.OpenBeneath("/dev", "null")).Fault);

    [Fact]
    public void Descriptors_of_proc_are_not_followed() =>
        Assert.Equal(SafePathFault.TooManyLinks, Assert.Throws<SafePathException>(() => SafePath.OpenBeneath("/proc", "self/exe")).Fault);

    [Fact]
    public void A_root_that_is_missing_is_told_apart()
    {
        var error = Assert.Throws<SafePathException>(() => SafePath.OpenBeneath(_root + "/none", "file"));

        Assert.Equal(SafePathFault.RootUnavailable, error.Fault);
        Assert.Contains("/none", error.Message, StringComparison.Ordinal);
    }

    private SafePathFault Fault(string path) => Assert.Throws<SafePathException>(() => SafePath.OpenBeneath(_root, path).Dispose()).Fault;
}
