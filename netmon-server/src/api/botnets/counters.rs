//! Counters by place: statistics with what is not folded into them yet, and active nodes.

/// Rows `(family_id, place_id, nodes, communications, day, week, month, as_of)` of the families `$1`,
/// to be summed up. All of it in one statement is what is so at one moment: whoever folds deltas into
/// statistics moves them in one transaction.
///
/// Nothing is joined on the way, so that each part reads its own rows of the families only.
pub const COUNTERS: &str = "
    SELECT family_id, place_id, nodes, communications,
           0::bigint AS day, 0::bigint AS week, 0::bigint AS month, NULL::timestamptz AS as_of
    FROM botnet_statistics WHERE family_id = ANY ($1)
    UNION ALL
    SELECT delta.family_id, change.place_id, change.nodes, change.communications, 0, 0, 0, NULL
    FROM botnet_deltas delta
    CROSS JOIN LATERAL unnest(delta.place_ids, delta.nodes, delta.communications)
        AS change (place_id, nodes, communications)
    WHERE delta.family_id = ANY ($1)
    UNION ALL
    SELECT family_id, place_id, 0, 0, day, week, month, as_of
    FROM botnet_active WHERE family_id = ANY ($1)";
