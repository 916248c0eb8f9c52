-- +goose Up
-- What SQLite has come to by the migration of the same number; what its columns
-- mean is said there. Text is compared by its bytes (COLLATE "C"), as SQLite
-- does, and so that no index depends on the version of a library of the system.

CREATE TABLE realm (
  id TEXT COLLATE "C" PRIMARY KEY,
  name TEXT COLLATE "C" NOT NULL UNIQUE,
  enabled BIGINT NOT NULL,
  settings TEXT NOT NULL,
  not_before_rev BIGINT NOT NULL DEFAULT 0,
  not_before_time BIGINT,
  max_access_exp BIGINT NOT NULL DEFAULT 0,
  version BIGINT NOT NULL
);

CREATE TABLE client (
  id TEXT COLLATE "C" PRIMARY KEY,
  realm_id TEXT COLLATE "C" NOT NULL,
  client_id TEXT COLLATE "C" NOT NULL,
  enabled BIGINT NOT NULL,
  body TEXT NOT NULL,
  secret_hash TEXT,
  old_secret_hash TEXT,
  old_secret_until BIGINT,
  secret_sealed BYTEA,
  origin BIGINT NOT NULL,
  notified BIGINT NOT NULL DEFAULT 0,
  not_before_rev BIGINT NOT NULL DEFAULT 0,
  not_before_time BIGINT,
  max_access_exp BIGINT NOT NULL DEFAULT 0,
  version BIGINT NOT NULL,
  UNIQUE (realm_id, client_id)
);

CREATE TABLE account (
  id TEXT COLLATE "C" PRIMARY KEY,
  realm_id TEXT COLLATE "C" NOT NULL,
  username TEXT COLLATE "C" NOT NULL,
  enabled BIGINT NOT NULL,
  body TEXT NOT NULL,
  not_before_rev BIGINT NOT NULL DEFAULT 0,
  not_before_time BIGINT,
  version BIGINT NOT NULL,
  UNIQUE (realm_id, username)
);

CREATE TABLE consent (
  realm_id TEXT COLLATE "C" NOT NULL,
  account_id TEXT COLLATE "C" NOT NULL,
  client_id TEXT COLLATE "C" NOT NULL,
  scope TEXT NOT NULL,
  created BIGINT NOT NULL,
  updated BIGINT NOT NULL,
  PRIMARY KEY (realm_id, account_id, client_id)
);

CREATE TABLE signing_key (
  id TEXT COLLATE "C" PRIMARY KEY,
  realm_id TEXT COLLATE "C" NOT NULL,
  algorithm TEXT NOT NULL,
  status TEXT NOT NULL,
  created BIGINT NOT NULL,
  signs_from BIGINT NOT NULL DEFAULT 0,
  ended BIGINT,
  private BYTEA NOT NULL
);
CREATE INDEX signing_key_realm ON signing_key (realm_id);

CREATE TABLE user_session (
  id TEXT COLLATE "C" PRIMARY KEY,
  realm_id TEXT COLLATE "C" NOT NULL,
  issuer TEXT NOT NULL,
  account_id TEXT COLLATE "C" NOT NULL,
  offline BIGINT NOT NULL,
  origin TEXT NOT NULL DEFAULT '',
  cookie_hash BYTEA UNIQUE,
  started BIGINT,
  auth_time BIGINT,
  last_seen BIGINT,
  idle BIGINT,
  expires BIGINT,
  ends BIGINT,
  remember BIGINT NOT NULL,
  acr TEXT NOT NULL,
  amr TEXT NOT NULL,
  ip TEXT NOT NULL,
  agent TEXT NOT NULL,
  opened_rev BIGINT NOT NULL,
  max_access_exp BIGINT
);
CREATE INDEX user_session_account ON user_session (realm_id, account_id);
CREATE INDEX user_session_ends ON user_session (ends);

CREATE TABLE client_session (
  sid TEXT COLLATE "C" NOT NULL,
  client_id TEXT COLLATE "C" NOT NULL,
  started BIGINT,
  last_seen BIGINT,
  idle BIGINT,
  expires BIGINT,
  scope TEXT NOT NULL,
  opened_rev BIGINT NOT NULL,
  max_access_exp BIGINT,
  PRIMARY KEY (sid, client_id)
);

CREATE TABLE refresh_family (
  id TEXT COLLATE "C" PRIMARY KEY,
  sid TEXT COLLATE "C" NOT NULL,
  client_id TEXT COLLATE "C" NOT NULL,
  scope TEXT NOT NULL,
  generation BIGINT NOT NULL,
  rotated BIGINT,
  reuses BIGINT NOT NULL,
  expires BIGINT,
  asked TEXT,
  binding TEXT
);
CREATE INDEX refresh_family_session ON refresh_family (sid, client_id);
CREATE INDEX refresh_family_expires ON refresh_family (expires);

CREATE TABLE single_use (
  hash BYTEA PRIMARY KEY,
  kind TEXT NOT NULL,
  body BYTEA,
  used BIGINT NOT NULL,
  expires BIGINT
);
CREATE INDEX single_use_expires ON single_use (expires);

CREATE TABLE logout_notice (
  sid TEXT COLLATE "C" NOT NULL,
  client_id TEXT COLLATE "C" NOT NULL,
  realm_id TEXT COLLATE "C" NOT NULL,
  account_id TEXT COLLATE "C" NOT NULL,
  due BIGINT NOT NULL,
  tries BIGINT NOT NULL,
  expires BIGINT NOT NULL,
  PRIMARY KEY (sid, client_id)
);
CREATE INDEX logout_notice_due ON logout_notice (due);

CREATE TABLE log_head (
  one BIGINT PRIMARY KEY CHECK (one = 1),
  epoch TEXT NOT NULL,
  revision BIGINT NOT NULL,
  clock_high BIGINT NOT NULL
);

CREATE TABLE revocation (
  revision BIGINT PRIMARY KEY,
  realm_id TEXT COLLATE "C" NOT NULL,
  issuer TEXT COLLATE "C" NOT NULL,
  kind BIGINT NOT NULL,
  target TEXT COLLATE "C" NOT NULL,
  client TEXT COLLATE "C" NOT NULL,
  before_time BIGINT,
  reason TEXT NOT NULL,
  committed BIGINT NOT NULL,
  expires BIGINT
);
CREATE INDEX revocation_target ON revocation (issuer, kind, target, client);
CREATE INDEX revocation_expires ON revocation (expires);
