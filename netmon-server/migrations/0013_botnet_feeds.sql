-- Who sends logs of a family, how regularly, and whether they still do: one row per family and source,
-- changed by every upload that came to its end.
CREATE TABLE botnet_feeds (
    family_id        bigint NOT NULL,
    source_id        int4 NOT NULL,
    uploads          bigint NOT NULL,          -- since the first
    first_upload_at  timestamptz NOT NULL,     -- when it came to its end
    last_upload_at   timestamptz NOT NULL,
    last_accepted_at timestamptz,              -- of the last upload with lines that were accepted; null: none
    accepted         bigint[] NOT NULL,        -- lines of the last uploads, the newest last, at most 5
    intervals_s      bigint[] NOT NULL,        -- seconds between the last uploads, the newest last, at most 20
    state            text NOT NULL,            -- new, regular, empty, late
    state_since      timestamptz NOT NULL,
    PRIMARY KEY (family_id, source_id)
);
