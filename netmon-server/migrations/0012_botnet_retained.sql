-- From when on communications of botnets are whole: nothing of them has been dropped yet. The audit
-- asks for communications only of nodes that were seen since then.
INSERT INTO retained (table_name, since) VALUES ('botnet_communications', '1970-01-01 00:00:00+00')
ON CONFLICT (table_name) DO NOTHING;
