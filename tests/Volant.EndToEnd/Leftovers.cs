using System.Collections.Concurrent;

namespace Volant.EndToEnd;

/// <summary>What tests made outside their process. A test whose set-up fails is never disposed of, so the run does it at its end.</summary>
internal static class Leftovers
{
    private static readonly ConcurrentDictionary<object, Func<Task>> Known = new();

    /// <summary>Says how to remove what <paramref name="owner"/> made.</summary>
    public static void Add(object owner, Func<Task> remove) => Known[owner] = remove;

    /// <summary>The owner has removed it.</summary>
    public static void Forget(object owner) => Known.TryRemove(owner, out _);

    /// <summary>Removes all that is left.</summary>
    public static async Task RemoveAllAsync()
    {
        foreach (var owner in Known.Keys)
        {
            if (Known.TryRemove(owner, out var remove))
            {
                await remove();
            }
        }
    }
}
