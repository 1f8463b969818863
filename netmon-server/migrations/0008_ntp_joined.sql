-- What a sensor's clock may be off by, as its kernel said when the batch was sealed: the error of
-- one-way delays between two sensors. Null: an older agent or server, or nobody said.
ALTER TABLE ntp_exchanges ADD COLUMN clock_maximum_error_ns bigint;
