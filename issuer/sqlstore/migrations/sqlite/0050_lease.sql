-- +goose Up
ALTER TABLE log_head DROP COLUMN changes; -- nothing ever raised it: copies are kept for 250 ms, whoever changes what they are of

CREATE TABLE lease (                          -- what one process does for all: who, until when (in its own clock)
  name TEXT PRIMARY KEY,
  holder TEXT NOT NULL,
  until INTEGER NOT NULL
);
