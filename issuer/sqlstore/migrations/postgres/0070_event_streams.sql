-- +goose Up
CREATE TABLE event_stream (                   -- see SQLite's
  id TEXT COLLATE "C" PRIMARY KEY,
  realm_id TEXT COLLATE "C" NOT NULL,
  client_id TEXT COLLATE "C" NOT NULL,
  method TEXT COLLATE "C" NOT NULL,
  status TEXT COLLATE "C" NOT NULL,
  body TEXT NOT NULL,
  UNIQUE (realm_id, client_id)
);

CREATE TABLE event_wanted (
  stream_id TEXT COLLATE "C" NOT NULL,
  type TEXT COLLATE "C" NOT NULL,
  PRIMARY KEY (stream_id, type)
);

CREATE TABLE event_queue (
  stream_id TEXT COLLATE "C" NOT NULL,
  id TEXT COLLATE "C" NOT NULL,
  realm_id TEXT COLLATE "C" NOT NULL,
  type TEXT COLLATE "C" NOT NULL,
  body TEXT NOT NULL,
  created BIGINT NOT NULL,
  due BIGINT NOT NULL,
  tries BIGINT NOT NULL,
  expires BIGINT NOT NULL,
  PRIMARY KEY (stream_id, id)
);
CREATE INDEX event_queue_due ON event_queue (due);
CREATE INDEX event_queue_created ON event_queue (stream_id, created);
CREATE INDEX event_queue_expires ON event_queue (expires);
