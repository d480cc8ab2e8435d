-- Roles and ensembles that people saved, and every version of each. `kind` is 'roles' or 'ensembles', `current` the number
-- of the version in effect. What was removed stays, so that it can be restored.
CREATE TABLE saved_things (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    current INTEGER NOT NULL,
    removed INTEGER NOT NULL DEFAULT 0,
    UNIQUE (kind, name)
) STRICT;

-- `fields` is JSON: the keys as they were written. `changed` is a JSON list of the keys that differ from the version before.
CREATE TABLE saved_versions (
    thing INTEGER NOT NULL REFERENCES saved_things (id),
    number INTEGER NOT NULL,
    time REAL NOT NULL,
    action TEXT NOT NULL,
    changed TEXT NOT NULL,
    fields TEXT NOT NULL,
    PRIMARY KEY (thing, number)
) STRICT, WITHOUT ROWID;
