-- Conversations whose engine states lie in the folder `conversations`, one file for each row. No text of them is kept
-- here: `fingerprint` is a chain of keyed hashes, `owner` the mark of the API key (hexadecimal, '' without a key),
-- `identity` a digest of all that the state depends on. `size` is in bytes, `seconds` what reading it again would take.
CREATE TABLE conversations (
    name TEXT NOT NULL PRIMARY KEY,
    owner TEXT NOT NULL,
    identity TEXT NOT NULL,
    model TEXT NOT NULL,
    tokens INTEGER NOT NULL,
    size INTEGER NOT NULL,
    seconds REAL NOT NULL,
    saved_at REAL NOT NULL,
    used REAL NOT NULL,
    checksum BLOB NOT NULL,
    length INTEGER NOT NULL,
    fingerprint BLOB NOT NULL
) STRICT, WITHOUT ROWID;
