-- Engines that were running, so that a restarted Ansambl finds them again; `handle` is JSON, its shape told by `version`.
CREATE TABLE instances (
  model TEXT PRIMARY KEY,
  version INTEGER NOT NULL,
  handle TEXT NOT NULL
) STRICT;

-- What happened to instances; `message` is JSON: an English template and its values.
CREATE TABLE events (
  id INTEGER PRIMARY KEY,
  time REAL NOT NULL,
  model TEXT NOT NULL,
  kind TEXT NOT NULL,
  message TEXT NOT NULL
) STRICT;
