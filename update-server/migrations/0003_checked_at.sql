-- When the device's last check was answered; NULL until there was one. last_seen also counts events,
-- so it cannot say whether a check that comes to be written down late is still the last one.
ALTER TABLE devices ADD COLUMN checked_at INTEGER;
