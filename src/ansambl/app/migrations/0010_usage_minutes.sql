-- What was asked in the newest minutes, so that a restart does not lose them: `minute` is counted from the epoch, all else
-- is as in usage and key_usage, of which these rows are a finer copy. Minutes older than a day go, and the oldest ones
-- sooner where there are very many rows.
CREATE TABLE usage_minutes (
    minute INTEGER NOT NULL,
    model TEXT NOT NULL,
    name TEXT NOT NULL,
    requests INTEGER NOT NULL DEFAULT 0,
    failed INTEGER NOT NULL DEFAULT 0,
    prompt_tokens INTEGER NOT NULL DEFAULT 0,
    cached_tokens INTEGER NOT NULL DEFAULT 0,
    output_tokens INTEGER NOT NULL DEFAULT 0,
    queued_seconds REAL NOT NULL DEFAULT 0,
    first_token_seconds REAL NOT NULL DEFAULT 0,
    first_tokens INTEGER NOT NULL DEFAULT 0,
    answer_seconds REAL NOT NULL DEFAULT 0,
    swaps INTEGER NOT NULL DEFAULT 0,
    saved INTEGER NOT NULL DEFAULT 0,
    restored INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (minute, model, name)
) STRICT, WITHOUT ROWID;
CREATE TABLE key_usage_minutes (
    minute INTEGER NOT NULL,
    key TEXT NOT NULL,
    model TEXT NOT NULL,
    requests INTEGER NOT NULL DEFAULT 0,
    failed INTEGER NOT NULL DEFAULT 0,
    prompt_tokens INTEGER NOT NULL DEFAULT 0,
    cached_tokens INTEGER NOT NULL DEFAULT 0,
    output_tokens INTEGER NOT NULL DEFAULT 0,
    queued_seconds REAL NOT NULL DEFAULT 0,
    first_token_seconds REAL NOT NULL DEFAULT 0,
    first_tokens INTEGER NOT NULL DEFAULT 0,
    swaps INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (minute, key, model)
) STRICT, WITHOUT ROWID;
-- What the requests of a key waited for: until their place, until their first token, and how many waited for a swap.
ALTER TABLE key_usage ADD COLUMN queued_seconds REAL NOT NULL DEFAULT 0;
ALTER TABLE key_usage ADD COLUMN first_token_seconds REAL NOT NULL DEFAULT 0;
ALTER TABLE key_usage ADD COLUMN first_tokens INTEGER NOT NULL DEFAULT 0;
ALTER TABLE key_usage ADD COLUMN swaps INTEGER NOT NULL DEFAULT 0;
