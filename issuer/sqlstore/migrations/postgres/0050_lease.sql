-- +goose Up
CREATE TABLE lease (
  name TEXT COLLATE "C" PRIMARY KEY,
  holder TEXT NOT NULL,
  until BIGINT NOT NULL
);

CREATE TABLE turn (one BIGINT); -- always empty: who locks it is alone in numbering records
