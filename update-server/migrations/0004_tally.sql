-- How many there are, without counting them: devices are not authenticated, so anyone may invent more.
CREATE TABLE tally (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    devices  INTEGER NOT NULL,
    events   INTEGER NOT NULL
) STRICT;

INSERT INTO tally
VALUES (1, (SELECT count(*) FROM devices), (SELECT count(*) FROM events));

CREATE TRIGGER one_device_more AFTER INSERT ON devices
BEGIN UPDATE tally SET devices = devices + 1; END;

CREATE TRIGGER one_device_less AFTER DELETE ON devices
BEGIN UPDATE tally SET devices = devices - 1; END;

CREATE TRIGGER one_event_more AFTER INSERT ON events
BEGIN UPDATE tally SET events = events + 1; END;

CREATE TRIGGER one_event_less AFTER DELETE ON events
BEGIN UPDATE tally SET events = events - 1; END;

-- In the order in which they are let go when there are too many.
CREATE INDEX devices_without_events ON devices (last_seen)
WHERE event_at IS NULL AND pin IS NULL;

CREATE INDEX devices_with_events ON devices (first_seen)
WHERE event_at IS NOT NULL AND pin IS NULL;
