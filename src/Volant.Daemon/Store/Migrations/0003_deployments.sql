CREATE TABLE deployments (
    id            INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    name          TEXT    NOT NULL UNIQUE,
    -- Intent.
    replicas      INTEGER NOT NULL CHECK (replicas >= 0),
    revision      INTEGER NOT NULL CHECK (revision >= 1),
    last_revision INTEGER NOT NULL CHECK (last_revision >= revision),
    config        TEXT    NOT NULL CHECK (json_valid(config)),
    strategy      TEXT    NOT NULL CHECK (json_valid(strategy)),
    deleting      INTEGER NOT NULL DEFAULT 0 CHECK (deleting IN (0, 1)),
    -- The revision that was healthy last: where a roll-out that fails returns to.
    good_revision INTEGER,
    good_config   TEXT    CHECK (good_config IS NULL OR json_valid(good_config)),
    -- Observation.
    message       TEXT,
    version       INTEGER NOT NULL DEFAULT 1,
    created_at    INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL
) STRICT;

ALTER TABLE vms ADD COLUMN deployment_id INTEGER REFERENCES deployments (id) ON DELETE RESTRICT;
ALTER TABLE vms ADD COLUMN deployment TEXT;
ALTER TABLE vms ADD COLUMN deployment_revision INTEGER;
CREATE INDEX vms_by_deployment ON vms (deployment_id) WHERE deployment_id IS NOT NULL;
