using System.ComponentModel;
using Volant.Contracts.Api;
using Volant.Linux;

namespace Volant.Agent.Files;

/// <summary>A request for a file that cannot be done.</summary>
/// <param name="status">HTTP status.</param>
/// <param name="code">One of <see cref="ErrorCodes"/>.</param>
/// <param name="message">A sentence with cause and remedy.</param>
/// <param name="cause">The refusal behind it.</param>
internal sealed class FileException(int status, string code, string message, Exception? cause = null) : Exception(message, cause)
{
    /// <summary>HTTP status.</summary>
    public int Status => status;

    /// <summary>One of <see cref="ErrorCodes"/>.</summary>
    public string Code => code;

    /// <summary>A broken rule of the request.</summary>
    public static FileException Invalid(string message) => new(400, ErrorCodes.InvalidRequest, message);

    /// <summary>The file is something else than the request needs.</summary>
    public static FileException Conflict(string message) => new(409, ErrorCodes.FileConflict, message);

    /// <summary>What the kernel's refusal means to a caller.</summary>
    public static FileException Of(Win32Exception e) => Of(e.NativeErrorCode, e.Message, e);

    /// <summary>What the framework's refusal means to a caller: it keeps the errno.</summary>
    public static FileException Of(IOException e) => Of(e.HResult, e.Message, e);

    private static FileException Of(int errno, string message, Exception e)
    {
        var words = message.TrimEnd('.');
        return errno switch
        {
            Errno.NoEntry => new FileException(404, ErrorCodes.FileNotFound, $"There is no such file in the guest. {words}.", e),
            Errno.NoSpace or Errno.QuotaExceeded => new FileException(507, ErrorCodes.DiskFull, $"The guest's disk is full; free space in the guest and try again. {words}.", e),
            Errno.NameTooLong or Errno.Invalid => new FileException(400, ErrorCodes.InvalidRequest, $"The path or a name in it is not valid. {words}.", e),
            Errno.NotDirectory or Errno.IsDirectory or Errno.Exists or Errno.NotEmpty or Errno.ReadOnly or Errno.Busy or Errno.TextBusy or Errno.CrossDevice or Errno.TooManyLinks or
                Errno.AccessDenied or Errno.NotPermitted or Errno.TooManyHardLinks or Errno.FileTooLarge or Errno.NoSuchDevice or Errno.NotSupported =>
                new FileException(409, ErrorCodes.FileConflict, $"The guest's file system does not allow it. {words}.", e),
            _ => new FileException(502, ErrorCodes.GuestError, $"The guest's kernel failed the operation. {words}.", e),
        };
    }
}
