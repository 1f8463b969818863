-- What agents are to watch besides the nodes of watched families: addresses and prefixes of a family
-- that somebody has listed.
CREATE TABLE botnet_watch_entries (
    family_id bigint NOT NULL REFERENCES botnet_families ON DELETE CASCADE,
    prefix    inet NOT NULL,
    PRIMARY KEY (family_id, prefix)
);

-- Which of them an address is in.
CREATE INDEX botnet_watch_entries_prefix ON botnet_watch_entries USING gist (prefix inet_ops);

-- How often a family's list has been replaced: by that servers see that it changed.
CREATE TABLE botnet_watch_lists (
    family_id  bigint PRIMARY KEY REFERENCES botnet_families ON DELETE CASCADE,
    revision   bigint NOT NULL,
    entries    bigint NOT NULL,
    changed_at timestamptz NOT NULL
);

-- Of the count, flows that the node began; null: not by an agent.
ALTER TABLE botnet_communications ADD COLUMN begun_there bigint;
