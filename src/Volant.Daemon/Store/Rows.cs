using System.Globalization;
using Microsoft.Data.Sqlite;

namespace Volant.Daemon.Store;

/// <summary>The few words of ADO.NET that every statement of the store needs.</summary>
internal static class Rows
{
    /// <summary>A command with named parameters; null becomes NULL.</summary>
    public static SqliteCommand Sql(this SqliteConnection connection, string sql, params ReadOnlySpan<(string Name, object? Value)> parameters)
    {
        var command = connection.CreateCommand();
        command.CommandText = sql;
        foreach (var (name, value) in parameters)
        {
            command.Parameters.AddWithValue(name, value ?? DBNull.Value);
        }

        return command;
    }

    /// <summary>Runs a statement and returns the number of changed rows.</summary>
    public static int Execute(this SqliteConnection connection, string sql, params ReadOnlySpan<(string Name, object? Value)> parameters)
    {
        using var command = connection.Sql(sql, parameters);
        return command.ExecuteNonQuery();
    }

    /// <summary>The first column of the first row; null when there is no row, or NULL.</summary>
    public static object? Scalar(this SqliteConnection connection, string sql, params ReadOnlySpan<(string Name, object? Value)> parameters)
    {
        using var command = connection.Sql(sql, parameters);
        return command.ExecuteScalar() is { } value and not DBNull ? value : null;
    }

    /// <summary>Every row.</summary>
    public static IReadOnlyList<T> Query<T>(this SqliteConnection connection, Func<SqliteDataReader, T> read, string sql, params ReadOnlySpan<(string Name, object? Value)> parameters)
    {
        using var command = connection.Sql(sql, parameters);
        using var reader = command.ExecuteReader();
        var rows = new List<T>();
        while (reader.Read())
        {
            rows.Add(read(reader));
        }

        return rows;
    }

    public static string? Text(this SqliteDataReader row, string column) => row.GetOrdinal(column) is var i && row.IsDBNull(i) ? null : row.GetString(i);

    public static long? Number(this SqliteDataReader row, string column) => row.GetOrdinal(column) is var i && row.IsDBNull(i) ? null : row.GetInt64(i);

    public static int? Int(this SqliteDataReader row, string column) => (int?)row.Number(column);

    public static DateTimeOffset? Time(this SqliteDataReader row, string column) => row.Number(column) is { } ms ? DateTimeOffset.FromUnixTimeMilliseconds(ms) : null;

    public static string Invariant(this Guid uid) => uid.ToString("D", CultureInfo.InvariantCulture);
}
