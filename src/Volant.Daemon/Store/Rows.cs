using System.Globalization;
using System.Runtime.CompilerServices;
using Microsoft.Data.Sqlite;

namespace Volant.Daemon.Store;

/// <summary>The few words of ADO.NET that every statement of the store needs.</summary>
internal static class Rows
{
    private const int MaxStatements = 128;

    // Preparing a statement costs more than running it: each connection keeps its statements.
    private static readonly ConditionalWeakTable<SqliteConnection, Dictionary<string, SqliteCommand>> Statements = [];

    /// <summary>Runs a statement and returns the number of changed rows.</summary>
    public static int Execute(this SqliteConnection connection, string sql, params ReadOnlySpan<(string Name, object? Value)> parameters)
    {
        using var statement = Prepare(connection, sql, parameters);
        return statement.Command.ExecuteNonQuery();
    }

    /// <summary>The first column of the first row; null when there is no row, or NULL.</summary>
    public static object? Scalar(this SqliteConnection connection, string sql, params ReadOnlySpan<(string Name, object? Value)> parameters)
    {
        using var statement = Prepare(connection, sql, parameters);
        return statement.Command.ExecuteScalar() is { } value and not DBNull ? value : null;
    }

    /// <summary>Every row.</summary>
    public static IReadOnlyList<T> Query<T>(this SqliteConnection connection, Func<SqliteDataReader, T> read, string sql, params ReadOnlySpan<(string Name, object? Value)> parameters)
    {
        using var statement = Prepare(connection, sql, parameters);
        using var reader = statement.Command.ExecuteReader();
        var rows = new List<T>();
        while (reader.Read())
        {
            rows.Add(read(reader));
        }

        return rows;
    }

    /// <summary>Takes a statement out of the connection's keep, or makes it; null parameters become NULL.</summary>
    private static Statement Prepare(SqliteConnection connection, string sql, ReadOnlySpan<(string Name, object? Value)> parameters)
    {
        var kept = Statements.GetOrCreateValue(connection);
        if (!kept.Remove(sql, out var command))
        {
            command = connection.CreateCommand();
            command.CommandText = sql;
        }

        if (command.Parameters.Count != parameters.Length)
        {
            command.Parameters.Clear();
        }

        for (var i = 0; i < parameters.Length; i++)
        {
            var (name, value) = parameters[i];
            if (i == command.Parameters.Count)
            {
                command.Parameters.AddWithValue(name, value ?? DBNull.Value);
            }
            else
            {
                (command.Parameters[i].ParameterName, command.Parameters[i].Value) = (name, value ?? DBNull.Value);
            }
        }

        return new Statement(kept, command);
    }

    /// <summary>A statement in use; it goes back to where it came from.</summary>
    private readonly record struct Statement(Dictionary<string, SqliteCommand> Kept, SqliteCommand Command) : IDisposable
    {
        public void Dispose()
        {
            // The same one may have been used within.
            if (Kept.Count >= MaxStatements || !Kept.TryAdd(Command.CommandText, Command))
            {
                Command.Dispose();
            }
        }
    }

    public static string? Text(this SqliteDataReader row, int column) => row.IsDBNull(column) ? null : row.GetString(column);

    public static string? Text(this SqliteDataReader row, string column) => row.Text(row.GetOrdinal(column));

    public static long? Number(this SqliteDataReader row, int column) => row.IsDBNull(column) ? null : row.GetInt64(column);

    public static long? Number(this SqliteDataReader row, string column) => row.Number(row.GetOrdinal(column));

    public static int? Int(this SqliteDataReader row, int column) => (int?)row.Number(column);

    public static int? Int(this SqliteDataReader row, string column) => (int?)row.Number(column);

    public static DateTimeOffset? Time(this SqliteDataReader row, int column) => row.Number(column) is { } ms ? DateTimeOffset.FromUnixTimeMilliseconds(ms) : null;

    public static DateTimeOffset? Time(this SqliteDataReader row, string column) => row.Time(row.GetOrdinal(column));

    public static string Invariant(this Guid uid) => uid.ToString("D", CultureInfo.InvariantCulture);
}
