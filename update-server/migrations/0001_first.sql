-- Times are Unix seconds (UTC); hashes and ids are lower-case hex.

CREATE TABLE admin_token (
    -- SHA-256 of the token, which itself has 256 random bits.
    sha256     TEXT PRIMARY KEY,
    created_at INTEGER NOT NULL
) STRICT;

-- Signed files as they came, one row for each version that devices may ask for.
CREATE TABLE metadata (
    name      TEXT PRIMARY KEY,
    body      BLOB NOT NULL,
    stored_at INTEGER NOT NULL
) STRICT;

-- What is trusted now. One row once something was published.
CREATE TABLE repository (
    only_row           INTEGER PRIMARY KEY CHECK (only_row = 1),
    snapshot_version   INTEGER NOT NULL,
    timestamp_version  INTEGER NOT NULL,
    timestamp_expires  INTEGER NOT NULL,
    timestamp          BLOB NOT NULL
) STRICT;

-- The signed list, read out of the metadata when it was accepted.
CREATE TABLE releases (
    compatible   TEXT NOT NULL,
    release      TEXT NOT NULL,
    counter      INTEGER NOT NULL,
    facts        TEXT NOT NULL,
    published_at INTEGER NOT NULL,
    -- Set when the signed list no longer names it.
    withdrawn_at INTEGER,
    PRIMARY KEY (compatible, release)
) STRICT;

CREATE TABLE channels (
    compatible TEXT NOT NULL,
    channel    TEXT NOT NULL,
    release    TEXT NOT NULL,
    pin        TEXT,
    paused     INTEGER NOT NULL DEFAULT 0,
    is_default INTEGER NOT NULL DEFAULT 0,
    changed_at INTEGER NOT NULL,
    PRIMARY KEY (compatible, channel)
) STRICT;

CREATE UNIQUE INDEX one_default_channel ON channels (compatible) WHERE is_default = 1;

CREATE TABLE devices (
    device         TEXT PRIMARY KEY,
    compatible     TEXT NOT NULL,
    first_seen     INTEGER NOT NULL,
    last_seen      INTEGER NOT NULL,
    pin            TEXT,
    -- From the last check; NULL until there was one.
    channel        TEXT,
    slot           TEXT,
    release        TEXT,
    counter        INTEGER,
    action         TEXT,
    check_reason   TEXT,
    check_detail   TEXT,
    -- From the event that arrived last; NULL until there was one.
    event_at       INTEGER,
    event_kind     TEXT,
    event_release  TEXT,
    event_reason   TEXT
) STRICT;

CREATE INDEX devices_by_last_seen ON devices (last_seen);

CREATE TABLE events (
    event        TEXT PRIMARY KEY,
    device       TEXT NOT NULL,
    at           INTEGER NOT NULL,
    received_at  INTEGER NOT NULL,
    kind         TEXT NOT NULL,
    release      TEXT,
    slot         TEXT,
    from_release TEXT,
    reason       TEXT
) STRICT;

-- With the rowid that every index ends in: by arrival.
CREATE INDEX events_by_device ON events (device);

-- Written by /healthz, to prove that a commit reaches the medium.
CREATE TABLE probe (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    at       INTEGER NOT NULL
) STRICT;
