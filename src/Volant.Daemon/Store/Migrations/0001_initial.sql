-- Times are Unix milliseconds UTC. Names of columns follow the API where a column is shown by it.
CREATE TABLE plugins (
    name       TEXT    NOT NULL PRIMARY KEY,
    version    TEXT    NOT NULL,
    enabled    INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    manifest   TEXT    NOT NULL CHECK (json_valid(manifest)),
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

CREATE TABLE vms (
    id             INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    uid            TEXT    NOT NULL UNIQUE,
    name           TEXT    NOT NULL UNIQUE,
    plugin         TEXT    NOT NULL REFERENCES plugins (name),
    runtime        TEXT    NOT NULL,
    -- Intent.
    desired        TEXT    NOT NULL CHECK (desired IN ('running', 'stopped')),
    deleting       INTEGER NOT NULL DEFAULT 0 CHECK (deleting IN (0, 1)),
    -- Observation.
    status         TEXT    NOT NULL CHECK (status IN ('pending', 'starting', 'running', 'stopping', 'stopped', 'crashed')),
    ready          INTEGER NOT NULL DEFAULT 0 CHECK (ready IN (0, 1)),
    hypervisor     TEXT    NOT NULL,
    pid            INTEGER,
    pid_start_time INTEGER,
    pid_boot_id    TEXT,
    last_error     TEXT,
    exit_code      INTEGER,
    exit_signal    INTEGER,
    exit_at        INTEGER,
    exit_reason    TEXT,
    restarts       INTEGER NOT NULL DEFAULT 0,
    started_at     INTEGER,
    boot_ms        INTEGER,
    -- Leases and size.
    network_mode   TEXT    NOT NULL CHECK (network_mode IN ('vsock', 'bridged', 'dhcp')),
    ip_address     TEXT    UNIQUE,
    mac_address    TEXT    UNIQUE,
    link_key       BLOB    NOT NULL CHECK (length(link_key) = 16),
    cpu_cores      INTEGER NOT NULL CHECK (cpu_cores >= 1),
    memory_mb      INTEGER NOT NULL CHECK (memory_mb >= 1),
    kernel_cmdline TEXT    NOT NULL,
    directory      TEXT    NOT NULL,
    serial_socket  TEXT    NOT NULL,
    config_version INTEGER NOT NULL CHECK (config_version >= 1),
    created_at     INTEGER NOT NULL,
    updated_at     INTEGER NOT NULL
) STRICT;

CREATE INDEX vms_by_status ON vms (status);
CREATE INDEX vms_by_plugin ON vms (plugin);

CREATE TABLE vm_configs (
    id         INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    vm_id      INTEGER NOT NULL REFERENCES vms (id) ON DELETE CASCADE,
    version    INTEGER NOT NULL,
    config     TEXT    NOT NULL CHECK (json_valid(config)),
    updated_at INTEGER NOT NULL,
    UNIQUE (vm_id, version)
) STRICT;

-- What a VM holds on the host. A row is written before the resource is made and removed after it is gone.
CREATE TABLE host_resources (
    vm_id INTEGER NOT NULL REFERENCES vms (id) ON DELETE RESTRICT,
    kind  TEXT    NOT NULL,
    name  TEXT    NOT NULL,
    PRIMARY KEY (vm_id, kind)
) STRICT, WITHOUT ROWID;

-- Addresses that were given back, so that the one given out next is the one that rested longest.
CREATE TABLE released_addresses (
    ip_address  TEXT    NOT NULL PRIMARY KEY,
    released_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
