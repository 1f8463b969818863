-- Adds late frames of an hour whose raw rows were dropped to its sums, and deletes them: one statement,
-- so that each is added exactly once.
--
-- $1 agent, $2 and $3 frames that begin in this time, $4 and $5 from when on minutes and hours are
-- whole, $6 from when on raw rows are: what a frame holds from there on goes back as a frame of its
-- own (and its hour is rolled up again).
WITH late AS (
    DELETE FROM bandwidth_stats
    WHERE agent_id = $1 AND started_at >= $2 AND started_at < $3
    RETURNING *
),
sums AS MATERIALIZED (
