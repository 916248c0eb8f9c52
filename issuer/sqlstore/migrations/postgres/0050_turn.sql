-- +goose Up
CREATE TABLE turn (one BIGINT); -- always empty: who locks it is alone in numbering records
