-- +goose Up
-- Ids are text as they go over the wire. Times are unix microseconds, but for
-- old_secret_until: unix seconds; NULL is no time. Booleans are 0 and 1.

CREATE TABLE realm (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  enabled INTEGER NOT NULL,
  settings TEXT NOT NULL,                     -- JSON
  not_before_rev INTEGER NOT NULL DEFAULT 0,  -- what was opened at a lower revision is dead
  max_access_exp INTEGER NOT NULL DEFAULT 0,  -- when the last access token minted for it expires
  version INTEGER NOT NULL
);

CREATE TABLE client (
  id TEXT PRIMARY KEY,
  realm_id TEXT NOT NULL,
  client_id TEXT NOT NULL,
  enabled INTEGER NOT NULL,
  body TEXT NOT NULL,                         -- JSON
  secret_hash TEXT,
  old_secret_hash TEXT,
  old_secret_until INTEGER,
  origin INTEGER NOT NULL,
  not_before_rev INTEGER NOT NULL DEFAULT 0,
  max_access_exp INTEGER NOT NULL DEFAULT 0,
  version INTEGER NOT NULL,
  UNIQUE (realm_id, client_id)
);

CREATE TABLE account (
  id TEXT PRIMARY KEY,
  realm_id TEXT NOT NULL,
  username TEXT NOT NULL,
  enabled INTEGER NOT NULL,
  body TEXT NOT NULL,                         -- JSON, with the password's hash
  not_before_rev INTEGER NOT NULL DEFAULT 0,
  version INTEGER NOT NULL,
  UNIQUE (realm_id, username)
);

CREATE TABLE signing_key (
  id TEXT PRIMARY KEY,                        -- kid
  realm_id TEXT NOT NULL,
  algorithm TEXT NOT NULL,
  status TEXT NOT NULL,
  created INTEGER NOT NULL,
  private BLOB NOT NULL                       -- sealed under the key file
);
CREATE INDEX signing_key_realm ON signing_key (realm_id);

CREATE TABLE user_session (
  id TEXT PRIMARY KEY,                        -- sid
  realm_id TEXT NOT NULL,
  issuer TEXT NOT NULL,
  account_id TEXT NOT NULL,
  offline INTEGER NOT NULL,
  cookie_hash BLOB UNIQUE,                    -- SHA-256; NULL if no browser holds one
  started INTEGER,
  auth_time INTEGER,
  last_seen INTEGER,
  idle INTEGER,                      -- end by idleness, as of last_seen
  expires INTEGER,                   -- end of max lifetime
  ends INTEGER,                      -- the earlier of both
  remember INTEGER NOT NULL,
  acr TEXT NOT NULL,
  amr TEXT NOT NULL,                          -- JSON
  ip TEXT NOT NULL,
  agent TEXT NOT NULL,
  opened_rev INTEGER NOT NULL,
  max_access_exp INTEGER
);
CREATE INDEX user_session_account ON user_session (realm_id, account_id);
CREATE INDEX user_session_ends ON user_session (ends);

CREATE TABLE client_session (
  sid TEXT NOT NULL,
  client_id TEXT NOT NULL,                    -- azp
  started INTEGER,
  last_seen INTEGER,
  expires INTEGER,
  scope TEXT NOT NULL,
  opened_rev INTEGER NOT NULL,
  max_access_exp INTEGER,
  PRIMARY KEY (sid, client_id)
);

CREATE TABLE refresh_family (                 -- one row for each chain, whatever the number of rotations
  id TEXT PRIMARY KEY,
  sid TEXT NOT NULL,
  client_id TEXT NOT NULL,
  scope TEXT NOT NULL,
  generation INTEGER NOT NULL,                -- of the newest token handed out
  rotated INTEGER,
  reuses INTEGER NOT NULL,
  expires INTEGER
);
CREATE INDEX refresh_family_session ON refresh_family (sid, client_id);
CREATE INDEX refresh_family_expires ON refresh_family (expires);

CREATE TABLE single_use (                     -- authorization codes, jti of assertions
  hash BLOB PRIMARY KEY,
  kind TEXT NOT NULL,
  body BLOB,
  used INTEGER NOT NULL,
  expires INTEGER
);
CREATE INDEX single_use_expires ON single_use (expires);

CREATE TABLE log_head (                       -- exactly one row
  one INTEGER PRIMARY KEY CHECK (one = 1),
  epoch TEXT NOT NULL,
  revision INTEGER NOT NULL,
  clock_high INTEGER NOT NULL                 -- the latest commit; never goes back
);

CREATE TABLE revocation (
  revision INTEGER PRIMARY KEY,
  realm_id TEXT NOT NULL,
  issuer TEXT NOT NULL,                       -- iss of the tokens that it kills
  kind INTEGER NOT NULL,
  target TEXT NOT NULL,                       -- jti, sid, sub, client_id or kid; empty for an issuer
  client TEXT NOT NULL,                       -- of a client session
  before_time INTEGER,                        -- for tokens without rev
  reason TEXT NOT NULL,
  committed INTEGER NOT NULL,
  expires INTEGER                             -- NULL: never
);
CREATE INDEX revocation_target ON revocation (issuer, kind, target, client);
CREATE INDEX revocation_expires ON revocation (expires);
