-- Disks of VMs that come from an image of the artifact cache. One that can be written is an overlay on it, a file below the VM's
-- resource 'disks': the row is written before the file is made, and stays as long as the VM. One that cannot be written is the
-- image itself; its row is that of the last start.
CREATE TABLE vm_disks (
    vm_id     INTEGER NOT NULL REFERENCES vms (id) ON DELETE CASCADE,
    name      TEXT    NOT NULL,
    sha256    TEXT    NOT NULL,
    format    TEXT    NOT NULL CHECK (format IN ('raw', 'qcow2')),
    read_only INTEGER NOT NULL CHECK (read_only IN (0, 1)),
    -- The file is complete: a guest may have written to it, so that it is never made again.
    made      INTEGER NOT NULL DEFAULT 0 CHECK (made IN (0, 1)),
    PRIMARY KEY (vm_id, name)
) STRICT, WITHOUT ROWID;
