-- Disks with names that outlive VMs. A row is written before the file is made and removed after it is gone; what is 'creating' or
-- 'deleting' when the daemon starts is finished by removing it.
CREATE TABLE volumes (
    id         INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    name       TEXT    NOT NULL UNIQUE,
    uid        TEXT    NOT NULL UNIQUE,
    size_mb    INTEGER NOT NULL CHECK (size_mb >= 1),
    state      TEXT    NOT NULL CHECK (state IN ('creating', 'ready', 'deleting')),
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

-- Volumes that runs of VMs hold: many that read, or one that writes.
CREATE TABLE volume_leases (
    volume_id INTEGER NOT NULL REFERENCES volumes (id) ON DELETE RESTRICT,
    vm_id     INTEGER NOT NULL REFERENCES vms (id) ON DELETE RESTRICT,
    read_only INTEGER NOT NULL CHECK (read_only IN (0, 1)),
    PRIMARY KEY (volume_id, vm_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX volume_leases_by_vm ON volume_leases (vm_id);
