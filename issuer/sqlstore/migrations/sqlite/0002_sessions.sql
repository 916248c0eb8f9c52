-- +goose Up
-- What a chain of refresh tokens was asked for and is bound to; which session
-- an offline one grew from.
ALTER TABLE refresh_family ADD COLUMN asked TEXT;   -- JSON; NULL: nothing beyond scopes
ALTER TABLE refresh_family ADD COLUMN binding TEXT; -- JSON; NULL: to nothing
ALTER TABLE user_session ADD COLUMN origin TEXT NOT NULL DEFAULT '';
