-- Rows of the ledger are added, deleted some days later, and never changed: a vacuum for the sake of
-- what was added would write each page once more, and into the log, for nothing. Deleted rows are
-- cleaned up as ever.
ALTER TABLE ingest_ledger SET (autovacuum_vacuum_insert_threshold = -1);
