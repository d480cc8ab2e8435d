-- API keys. `digest` is the SHA-256 of the secret, which itself is nowhere; `shown` are its first letters. `names` and
-- `endpoints` are JSON lists (NULL names: all), `requests` and `tokens` JSON lists of [period in seconds, amount]. Times are
-- seconds since the epoch. A revoked key stays, so that its id is never used again.
CREATE TABLE api_keys (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    digest BLOB NOT NULL UNIQUE,
    shown TEXT NOT NULL,
    names TEXT,
    endpoints TEXT NOT NULL,
    class TEXT NOT NULL,
    requests TEXT NOT NULL,
    tokens TEXT NOT NULL,
    created REAL NOT NULL,
    expires REAL,
    revoked REAL,
    last_used REAL
) STRICT;

CREATE UNIQUE INDEX api_keys_name ON api_keys (name) WHERE revoked IS NULL;

-- What was used of limits: `kind` is 'requests' or 'tokens', `period` the limit's in seconds, `moment` in microseconds since
-- the epoch.
CREATE TABLE api_key_use (
    key TEXT NOT NULL REFERENCES api_keys (id),
    kind TEXT NOT NULL,
    period INTEGER NOT NULL,
    moment INTEGER NOT NULL,
    amount INTEGER NOT NULL,
    PRIMARY KEY (key, kind, period, moment)
) STRICT, WITHOUT ROWID;

-- For which key a turn is remembered, so that it can be forgotten with the key.
ALTER TABLE role_turns ADD COLUMN owner TEXT NOT NULL DEFAULT 'local';
CREATE INDEX role_turns_owner ON role_turns (owner) WHERE owner <> 'local';
