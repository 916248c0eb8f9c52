-- +goose Up
CREATE TABLE consent (                        -- what people have let clients have
  realm_id TEXT NOT NULL,
  account_id TEXT NOT NULL,
  client_id TEXT NOT NULL,
  scope TEXT NOT NULL,
  created INTEGER NOT NULL,
  updated INTEGER NOT NULL,
  PRIMARY KEY (realm_id, account_id, client_id)
);
