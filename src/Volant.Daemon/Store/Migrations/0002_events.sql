-- The newest events, so that a client that comes back misses none. Written in the transaction of the change that they tell of.
CREATE TABLE events (
    sequence INTEGER NOT NULL PRIMARY KEY,
    event    TEXT    NOT NULL CHECK (json_valid(event))
) STRICT;

-- Raised by every change of a record; what an ETag says.
ALTER TABLE vms ADD COLUMN revision INTEGER NOT NULL DEFAULT 1;

-- Supervision.
ALTER TABLE vms ADD COLUMN restart_attempts INTEGER NOT NULL DEFAULT 0;
ALTER TABLE vms ADD COLUMN restart_at INTEGER;
ALTER TABLE vms ADD COLUMN exit_asked_by TEXT;
ALTER TABLE vms ADD COLUMN exit_lines TEXT;
CREATE INDEX vms_by_restart ON vms (restart_at) WHERE restart_at IS NOT NULL;
CREATE INDEX vms_by_created ON vms (created_at, id);

-- Every address that was ever given out: leased by a VM, or resting since released_at.
DROP TABLE released_addresses;
CREATE TABLE addresses (
    number      INTEGER NOT NULL PRIMARY KEY,
    vm_id       INTEGER UNIQUE REFERENCES vms (id) ON DELETE RESTRICT,
    released_at INTEGER
) STRICT;
CREATE INDEX addresses_resting ON addresses (released_at) WHERE vm_id IS NULL;
