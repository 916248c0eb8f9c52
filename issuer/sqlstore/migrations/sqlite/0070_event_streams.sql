-- +goose Up
CREATE TABLE event_stream (                   -- who is told of security events (SSF 1.0), one stream a client
  id TEXT PRIMARY KEY,
  realm_id TEXT NOT NULL,
  client_id TEXT NOT NULL,
  method TEXT NOT NULL,
  status TEXT NOT NULL,
  body TEXT NOT NULL,                         -- JSON; what it authenticates us with is sealed under the key file
  UNIQUE (realm_id, client_id)
);

CREATE TABLE event_wanted (                   -- the types of events that a stream is told
  stream_id TEXT NOT NULL,
  type TEXT NOT NULL,
  PRIMARY KEY (stream_id, type)
);

CREATE TABLE event_queue (                    -- what streams are to be told, until they have been
  stream_id TEXT NOT NULL,
  id TEXT NOT NULL,                           -- jti
  realm_id TEXT NOT NULL,
  type TEXT NOT NULL,
  body TEXT NOT NULL,                         -- JSON
  created INTEGER NOT NULL,
  due INTEGER NOT NULL,
  tries INTEGER NOT NULL,
  expires INTEGER NOT NULL,
  PRIMARY KEY (stream_id, id)
);
CREATE INDEX event_queue_due ON event_queue (due);
CREATE INDEX event_queue_created ON event_queue (stream_id, created);
CREATE INDEX event_queue_expires ON event_queue (expires);
