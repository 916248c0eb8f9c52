-- +goose Up
ALTER TABLE client ADD COLUMN secret_sealed BLOB; -- of clients that sign with their secret (client_secret_jwt)
