using System.Net.Sockets;
using Microsoft.AspNetCore.Connections.Features;
using Volant.Linux.IO;

namespace Volant.Daemon.Api;

/// <summary>Who sent a request, in words for records and logs; never holds a secret.</summary>
internal static class Caller
{
    /// <summary>What calls are counted by: the peer's address, or "local" for every unix socket.</summary>
    public static string Address(HttpContext context) => context.Connection.RemoteIpAddress is { } address ? $"{(address.IsIPv4MappedToIPv6 ? address.MapToIPv4() : address)}" : "local";

    /// <summary>The peer's address, or its user and process for a unix socket.</summary>
    public static string Describe(HttpContext context)
    {
        if (context.Connection.RemoteIpAddress is { } address)
        {
            return $"{(address.IsIPv4MappedToIPv6 ? address.MapToIPv4() : address)}";
        }

        try
        {
            return context.Features.Get<IConnectionSocketFeature>()?.Socket is { AddressFamily: AddressFamily.Unix } socket
                ? PeerCredentials.Of(socket) is var peer ? $"user {peer.UserId} (process {peer.Pid})" : "a local client"
                : "a local client";
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException or System.ComponentModel.Win32Exception)
        {
            return "a local client";
        }
    }
}
