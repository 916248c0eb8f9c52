-- +goose Up
ALTER TABLE client ADD COLUMN notified INTEGER NOT NULL DEFAULT 0; -- whether it has a back-channel logout URL

CREATE TABLE logout_notice (                  -- what clients are to be told, until they have been
  sid TEXT NOT NULL,
  client_id TEXT NOT NULL,
  realm_id TEXT NOT NULL,
  account_id TEXT NOT NULL,
  due INTEGER NOT NULL,
  tries INTEGER NOT NULL,
  expires INTEGER NOT NULL,
  PRIMARY KEY (sid, client_id)
);
CREATE INDEX logout_notice_due ON logout_notice (due);
