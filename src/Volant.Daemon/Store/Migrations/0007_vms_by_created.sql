-- A list in the usual order reads this, and only the rows that it shows.
DROP INDEX vms_by_created;
CREATE INDEX vms_by_created ON vms (created_at, id) WHERE deleting = 0;
