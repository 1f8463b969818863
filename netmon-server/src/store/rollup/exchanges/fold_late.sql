-- Adds late exchanges of an hour whose exchanges were dropped, and late folds of such, to its hour and
-- its day, and deletes them: one statement, so that each is added exactly once.
--
-- $1 agent, $2 and $3 the hour, $4 and $5 from when on hours and days are whole, $6 from when on
-- exchanges are.
WITH late AS (
    DELETE FROM ntp_exchanges WHERE agent_id = $1 AND at >= $2 AND at < $3 AND at < $6
    RETURNING *
),
late_folds AS (
    DELETE FROM ntp_folds WHERE agent_id = $1 AND at >= $2 AND at < $3 AND at < $6
    RETURNING *
),
measured AS MATERIALIZED (
WITH exchanges AS (
    SELECT $2::timestamptz AS slot, late.* FROM late
),
