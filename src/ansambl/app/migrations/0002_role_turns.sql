-- Which note stood at which turn of which conversation. Conversations are here as hashes only; the notes are the
-- instructions of roles, which the configuration holds too.
CREATE TABLE role_notes (
    id INTEGER PRIMARY KEY,
    role TEXT NOT NULL,
    note TEXT NOT NULL,
    UNIQUE (role, note)
) STRICT;

CREATE TABLE role_turns (
    digest BLOB PRIMARY KEY,
    note INTEGER NOT NULL REFERENCES role_notes (id),
    written REAL NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX role_turns_written ON role_turns (written);
CREATE INDEX role_turns_note ON role_turns (note);
