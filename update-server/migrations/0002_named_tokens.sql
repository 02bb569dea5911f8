-- Tokens are added and revoked by name. Until now there was one, made by init.
ALTER TABLE admin_token ADD COLUMN name TEXT NOT NULL DEFAULT 'first';

CREATE UNIQUE INDEX admin_token_by_name ON admin_token (name);
