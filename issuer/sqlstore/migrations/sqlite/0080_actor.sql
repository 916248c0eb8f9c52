-- +goose Up
ALTER TABLE revocation ADD COLUMN actor TEXT NOT NULL DEFAULT ''; -- who had it revoked; empty: nobody has said
