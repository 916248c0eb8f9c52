-- +goose Up
CREATE TABLE replica (                        -- the processes that share this store
  id TEXT COLLATE "C" PRIMARY KEY,
  name TEXT NOT NULL,
  beat BIGINT NOT NULL,                       -- rises: who sees it unchanged for a lease counts it out
  lease BIGINT NOT NULL,                      -- ms
  epoch TEXT NOT NULL,
  acked BIGINT NOT NULL,                      -- no watcher of it trusts anything older
  below TEXT NOT NULL                         -- who has applied its head, JSON
);
