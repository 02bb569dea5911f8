-- Deltas that the server made by itself, or tried to. Files are in the payload folder; those that a
-- publisher uploaded have no row.
CREATE TABLE deltas (
    to_root    TEXT NOT NULL,
    from_root  TEXT NOT NULL,
    -- made, unkept, not_worth, failed
    state      TEXT NOT NULL,
    -- Of the file, whether it is kept or not; NULL: it never came to one.
    bytes      INTEGER,
    -- Of the file that is kept.
    sha256     TEXT,
    -- Tries that failed, one after another.
    attempts   INTEGER NOT NULL DEFAULT 0,
    changed_at INTEGER NOT NULL,
    PRIMARY KEY (to_root, from_root)
) STRICT;
