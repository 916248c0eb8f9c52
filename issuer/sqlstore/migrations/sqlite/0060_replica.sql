-- +goose Up
CREATE TABLE replica (                        -- the processes that share this store
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  beat INTEGER NOT NULL,                      -- rises: who sees it unchanged for a lease counts it out
  lease INTEGER NOT NULL,                     -- ms
  epoch TEXT NOT NULL,
  acked INTEGER NOT NULL,                     -- no watcher of it trusts anything older
  below TEXT NOT NULL                         -- who has applied its head, JSON
);
