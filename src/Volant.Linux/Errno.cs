namespace Volant.Linux;

/// <summary>Error numbers of Linux that callers tell apart (<c>include/uapi/asm-generic/errno*.h</c>, the same on x86-64 and arm64).</summary>
/// <remarks>Compare with <see cref="System.ComponentModel.Win32Exception.NativeErrorCode"/>.</remarks>
public static class Errno
{
    /// <summary>EPERM: the caller lacks a capability.</summary>
    public const int NotPermitted = 1;

    /// <summary>ENOENT: no such file.</summary>
    public const int NoEntry = 2;

    /// <summary>ESRCH: no such process.</summary>
    public const int NoProcess = 3;

    /// <summary>EIO: the device failed; of a terminal's master: nobody has the other side open.</summary>
    public const int InputOutput = 5;

    /// <summary>EINTR: a signal arrived first.</summary>
    public const int Interrupted = 4;

    /// <summary>EBADF: not an open descriptor, or not one for this operation.</summary>
    public const int BadDescriptor = 9;

    /// <summary>EAGAIN: nothing to do now.</summary>
    public const int Again = 11;

    /// <summary>ENOMEM: no memory.</summary>
    public const int NoMemory = 12;

    /// <summary>EACCES: the permissions forbid it.</summary>
    public const int AccessDenied = 13;

    /// <summary>EBUSY: in use.</summary>
    public const int Busy = 16;

    /// <summary>EEXIST: it exists already.</summary>
    public const int Exists = 17;

    /// <summary>EXDEV: across file systems, or out of the root that a look-up was bound to.</summary>
    public const int CrossDevice = 18;

    /// <summary>ENODEV: no such device or interface.</summary>
    public const int NoDevice = 19;

    /// <summary>ENOTDIR: a component of the path is not a directory.</summary>
    public const int NotDirectory = 20;

    /// <summary>EISDIR: a directory where a file is needed.</summary>
    public const int IsDirectory = 21;

    /// <summary>EINVAL: an argument is wrong.</summary>
    public const int Invalid = 22;

    /// <summary>ENFILE: too many open files on this host.</summary>
    public const int FileTableFull = 23;

    /// <summary>EMFILE: too many open files in this process.</summary>
    public const int TooManyFiles = 24;

    /// <summary>ENXIO: no device behind a device node, or no reader behind a FIFO.</summary>
    public const int NoSuchDevice = 6;

    /// <summary>ETXTBSY: the program is running.</summary>
    public const int TextBusy = 26;

    /// <summary>EFBIG: larger than the file system allows.</summary>
    public const int FileTooLarge = 27;

    /// <summary>ENOSPC: the disk is full.</summary>
    public const int NoSpace = 28;

    /// <summary>EROFS: the file system is read-only.</summary>
    public const int ReadOnly = 30;

    /// <summary>EMLINK: the file system allows no more links.</summary>
    public const int TooManyHardLinks = 31;

    /// <summary>ENAMETOOLONG: a component has more than 255 bytes, or a path more than 4,095.</summary>
    public const int NameTooLong = 36;

    /// <summary>ENOSYS: this kernel has no such system call.</summary>
    public const int NotImplemented = 38;

    /// <summary>ENOTEMPTY: the directory is not empty.</summary>
    public const int NotEmpty = 39;

    /// <summary>ELOOP: more than 40 symbolic links, or a link where none may be.</summary>
    public const int TooManyLinks = 40;

    /// <summary>EXFULL: a bridge has all of its 1,023 ports.</summary>
    public const int ExchangeFull = 54;

    /// <summary>EBADMSG: a message that does not parse.</summary>
    public const int BadMessage = 74;

    /// <summary>EMSGSIZE: a message longer than the buffer.</summary>
    public const int MessageTooLong = 90;

    /// <summary>EOPNOTSUPP: the object does not support it.</summary>
    public const int NotSupported = 95;

    /// <summary>EADDRNOTAVAIL: no interface has the address.</summary>
    public const int AddressNotAvailable = 99;

    /// <summary>ECONNABORTED: the peer left before it was accepted.</summary>
    public const int ConnectionAborted = 103;

    /// <summary>ENOBUFS: no buffer space.</summary>
    public const int NoBuffers = 105;

    /// <summary>ETIMEDOUT: no answer in time.</summary>
    public const int TimedOut = 110;

    /// <summary>EINPROGRESS: a connection is being made.</summary>
    public const int InProgress = 115;

    /// <summary>EDQUOT: the quota is used up.</summary>
    public const int QuotaExceeded = 122;

    /// <summary>ENOMEDIUM: a drive without a medium.</summary>
    public const int NoMedium = 123;
}
