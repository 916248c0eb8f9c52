-- +goose Up
ALTER TABLE signing_key ADD COLUMN signs_from INTEGER NOT NULL DEFAULT 0; -- published before, signs nothing before
ALTER TABLE signing_key ADD COLUMN ended INTEGER;                         -- when it stopped to sign; NULL while it is active
UPDATE signing_key SET signs_from = created;
UPDATE signing_key SET ended = CAST(strftime('%s', 'now') AS INTEGER) * 1000000 WHERE status <> 'active';

-- Grows with each commit that changes what is configured, or that kills all of
-- a realm, client, user or key: who keeps a copy of either looks here.
ALTER TABLE log_head ADD COLUMN changes INTEGER NOT NULL DEFAULT 0;
