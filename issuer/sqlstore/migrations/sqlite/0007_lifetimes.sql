-- +goose Up
-- When all of a realm, client or user was last killed, in unix seconds: what
-- Keycloak calls not-before. NULL: never.
ALTER TABLE realm ADD COLUMN not_before_time INTEGER;
ALTER TABLE client ADD COLUMN not_before_time INTEGER;
ALTER TABLE account ADD COLUMN not_before_time INTEGER;
ALTER TABLE client_session ADD COLUMN idle INTEGER; -- end by idleness, if the client has one of its own
