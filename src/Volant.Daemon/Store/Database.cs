using System.Collections.Concurrent;
using System.Diagnostics;
using System.Reflection;
using System.Security.Cryptography;
using System.Text;
using Microsoft.Data.Sqlite;
using Volant.Daemon.Telemetry;

namespace Volant.Daemon.Store;

/// <summary>The SQLite file: migrations, one writer thread that commits in groups, readers that are kept.</summary>
/// <remarks>
/// WAL with <c>synchronous=FULL</c>: what <see cref="WriteAsync"/> returned survives a power cut. Under load several jobs share one
/// commit; each has its own savepoint, so that one that fails undoes only itself.
/// </remarks>
internal sealed class Database : IAsyncDisposable
{
    private const int QueueCapacity = 1024;
    private const int GroupSize = 256;
    private const int MaxReaders = 16;
    private const string Pragmas = "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA busy_timeout=5000; PRAGMA foreign_keys=ON; PRAGMA temp_store=MEMORY;";

    private readonly string _connectionString;
    private readonly SqliteConnection _writer;
    private readonly BlockingCollection<IJob> _jobs = new(QueueCapacity);
    private readonly ConcurrentBag<SqliteConnection> _readers = [];
    private readonly Thread _thread;
    private bool _closed;
    private int _failAt = int.MaxValue;

    /// <summary>Opens the database, creating it when absent, and migrates it.</summary>
    /// <exception cref="ConfigurationException">The file is unreadable, damaged, not ours, or of a newer version.</exception>
    public Database(string path)
    {
        _connectionString = new SqliteConnectionStringBuilder { DataSource = path, ForeignKeys = true, Pooling = false, DefaultTimeout = 5 }.ToString();
        _writer = new SqliteConnection(_connectionString);
        try
        {
            Directory.CreateDirectory(Path.GetDirectoryName(path)!);
            _writer.Open();
            Execute(Pragmas);
            if (Scalar("PRAGMA quick_check(1)") is not "ok")
            {
                throw new ConfigurationException($"VOLANT_DB_PATH: the database '{path}' is damaged; restore it from a copy, or move it away to start empty.");
            }

            Migrate(path);
        }
        catch (Exception e) when (e is SqliteException or IOException or UnauthorizedAccessException)
        {
            _writer.Dispose();
            throw new ConfigurationException($"VOLANT_DB_PATH: the database '{path}' cannot be opened ({e.Message}); expected a readable and writable SQLite file.");
        }

        _thread = new Thread(Run) { IsBackground = true, Name = "store-writer" };
        _thread.Start();
    }

    /// <summary>Changes that wait to be written.</summary>
    public int QueueDepth => _jobs.Count;

    private interface IJob
    {
        void Execute(SqliteConnection connection);

        void Complete(Exception? groupFailure);
    }

    /// <summary>Runs <paramref name="work"/> inside a transaction and returns when it is durable.</summary>
    /// <remarks>The token only keeps the work from being queued: what is queued runs.</remarks>
    /// <param name="work">Runs on the writer's thread; it must be quick.</param>
    /// <param name="cancellationToken">See the remarks.</param>
    /// <param name="committed">Called on the writer's thread after the commit, in the order of the commits; it must be quick and not throw.</param>
    /// <exception cref="VolantException"><c>unavailable</c>: too many writes wait already; <c>disk_full</c>: nothing was written.</exception>
    public Task<T> WriteAsync<T>(Func<SqliteConnection, T> work, CancellationToken cancellationToken, Action<T>? committed = null)
    {
        cancellationToken.ThrowIfCancellationRequested();
        ObjectDisposedException.ThrowIf(_closed, this);
        if (Volatile.Read(ref _failAt) != int.MaxValue && Interlocked.Decrement(ref _failAt) <= 0)
        {
            throw new VolantException(Contracts.Api.ErrorCodes.DiskFull, "The state could not be written (a fault on purpose).");
        }

        var job = new Job<T>(work, committed);
        return _jobs.TryAdd(job)
            ? job.Result
            : throw new VolantException(Contracts.Api.ErrorCodes.Unavailable, $"More than {QueueCapacity} changes wait to be written; try again later.");
    }

    /// <summary>Runs <paramref name="work"/> on a reader connection.</summary>
    public T Read<T>(Func<SqliteConnection, T> work)
    {
        ObjectDisposedException.ThrowIf(_closed, this);
        if (!_readers.TryTake(out var connection))
        {
            connection = new SqliteConnection(_connectionString);
            connection.Open();
        }

        try
        {
            return work(connection);
        }
        finally
        {
            if (_readers.Count < MaxReaders && !_closed)
            {
                _readers.Add(connection);
            }
            else
            {
                connection.Dispose();
            }
        }
    }

    /// <summary>For tests: the n-th write from now on fails as on a full disk, and every later one; null ends it.</summary>
    internal void FailAt(int? nth) => Volatile.Write(ref _failAt, nth ?? int.MaxValue);

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        if (!Interlocked.Exchange(ref _closed, true))
        {
            _jobs.CompleteAdding();
            await Task.Run(_thread.Join);
            await _writer.DisposeAsync();
            _jobs.Dispose();
            while (_readers.TryTake(out var reader))
            {
                await reader.DisposeAsync();
            }
        }
    }

    private void Run()
    {
        var group = new List<IJob>();
        foreach (var first in _jobs.GetConsumingEnumerable())
        {
            group.Clear();
            group.Add(first);
            while (group.Count < GroupSize && _jobs.TryTake(out var next))
            {
                group.Add(next);
            }

            var began = Stopwatch.GetTimestamp();
            var failure = Commit(group);
            Instruments.CommitDuration.Record(Stopwatch.GetElapsedTime(began).TotalSeconds);
            Instruments.Changes.Add(group.Count);
            foreach (var job in group)
            {
                job.Complete(failure);
            }
        }
    }

    private SqliteException? Commit(List<IJob> group)
    {
        try
        {
            _writer.Execute("BEGIN IMMEDIATE");
            foreach (var job in group)
            {
                _writer.Execute("SAVEPOINT job");
                job.Execute(_writer);
            }

            _writer.Execute("COMMIT");
            return null;
        }
        catch (SqliteException e)
        {
            try
            {
                Execute("ROLLBACK");
            }
            catch (SqliteException)
            {
                // SQLite rolled back by itself, as it does when the disk is full.
            }

            return e;
        }
    }

    private void Migrate(string path)
    {
        Execute("CREATE TABLE IF NOT EXISTS migrations (version INTEGER NOT NULL PRIMARY KEY, name TEXT NOT NULL, sha256 TEXT NOT NULL) STRICT");
        var assembly = typeof(Database).Assembly;
        var names = assembly.GetManifestResourceNames().Where(name => name.StartsWith("migrations/", StringComparison.Ordinal)).Order(StringComparer.Ordinal).ToArray();
        var known = names.Length;
        if (Scalar("SELECT max(version) FROM migrations") is long newest && newest > known)
        {
            throw new ConfigurationException($"VOLANT_DB_PATH: the database '{path}' has version {newest}; this volantd knows up to {known}. Install the newer volantd, or use another database.");
        }

        for (var version = 1; version <= known; version++)
        {
            Apply(path, version, names[version - 1], assembly);
        }
    }

    private void Apply(string path, int version, string name, Assembly assembly)
    {
        using var stream = assembly.GetManifestResourceStream(name)!;
        using var reader = new StreamReader(stream);
        var sql = reader.ReadToEnd();
        var digest = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(sql)));
        switch (Scalar($"SELECT sha256 FROM migrations WHERE version = {version}"))
        {
            case string applied when applied == digest:
                return;
            case string:
                throw new ConfigurationException($"VOLANT_DB_PATH: the database '{path}' was made by another build: migration {name} differs. Use the volantd that made it, or another database.");
        }

        using var transaction = _writer.BeginTransaction();
        Execute(sql);
        Execute($"INSERT INTO migrations (version, name, sha256) VALUES ({version}, '{name}', '{digest}'); PRAGMA user_version = {version}");
        transaction.Commit();
    }

    private void Execute(string sql)
    {
        using var command = _writer.CreateCommand();
        command.CommandText = sql;
        command.ExecuteNonQuery();
    }

    private object? Scalar(string sql)
    {
        using var command = _writer.CreateCommand();
        command.CommandText = sql;
        return command.ExecuteScalar();
    }

    private sealed class Job<T>(Func<SqliteConnection, T> work, Action<T>? committed) : IJob
    {
        private readonly TaskCompletionSource<T> _completion = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private T? _value;
        private Exception? _failure;

        public Task<T> Result => _completion.Task;

        public void Execute(SqliteConnection connection)
        {
            try
            {
                _value = work(connection);
                connection.Execute("RELEASE job");
            }
            catch (Exception e) when (e is not SqliteException { SqliteErrorCode: DiskFull or IoError })
            {
                _failure = e;
                connection.Execute("ROLLBACK TO job; RELEASE job");
            }
        }

        public void Complete(Exception? groupFailure)
        {
            if ((_failure ?? groupFailure) is { } failure)
            {
                _completion.SetException(Translate(failure));
            }
            else
            {
                committed?.Invoke(_value!);
                _completion.SetResult(_value!);
            }
        }

        private const int IoError = 10;
        private const int DiskFull = 13;

        private static Exception Translate(Exception failure) => failure is SqliteException { SqliteErrorCode: DiskFull or IoError } sqlite
            ? new VolantException(Contracts.Api.ErrorCodes.DiskFull, $"The state could not be written ({sqlite.Message}); free space below the state directory and try again.", sqlite)
            : failure;
    }
}
