-- What is wished of NTP monitoring, by agent and interface. An agent is told all of it when it connects
-- and whenever it changes; interfaces without a row are as its configuration says.
CREATE TABLE ntp_wishes (
    agent_id   bigint NOT NULL REFERENCES agents,
    interface  text NOT NULL,           -- one that the agent does not have may come later
    monitored  boolean NOT NULL,
    ports      int4[],                  -- null: as the agent's configuration says
    timeout_ms int4,                    -- null: as the agent's configuration says
    revision   bigint NOT NULL,         -- the agent's at the last change of this row
    changed_at timestamptz NOT NULL,
    PRIMARY KEY (agent_id, interface)
);

-- One row per agent of which anything was ever wished: counts the changes, one after the other.
CREATE TABLE ntp_wish_revisions (
    agent_id   bigint PRIMARY KEY REFERENCES agents,
    revision   bigint NOT NULL,
    changed_at timestamptz NOT NULL
);

-- Servers look for what was changed over another one.
CREATE INDEX ntp_wish_revisions_changed ON ntp_wish_revisions (changed_at);
