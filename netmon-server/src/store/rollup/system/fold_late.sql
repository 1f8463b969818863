-- Adds late readings of an hour whose readings were dropped to its minutes and its hour, and deletes
-- them: one statement, so that each is added exactly once. What there is of a minute or hour counts
-- as one more reading of it.
--
-- $1 agent, $2 and $3 the hour, $4 and $5 from when on minutes and hours are whole, $6 from when on
-- readings are.
WITH readings AS (
    DELETE FROM system_stats
    WHERE agent_id = $1 AND at >= $2 AND at < $3 AND at < $6
    RETURNING *
),
late AS MATERIALIZED (
