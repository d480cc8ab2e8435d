-- What was asked with each API key, by day (UTC, YYYY-MM-DD) and by the model that answered. `key` is the id of the key,
-- 'local' the owner. All figures are sums.
CREATE TABLE key_usage (
    day TEXT NOT NULL,
    key TEXT NOT NULL,
    model TEXT NOT NULL,
    requests INTEGER NOT NULL DEFAULT 0,
    failed INTEGER NOT NULL DEFAULT 0,
    prompt_tokens INTEGER NOT NULL DEFAULT 0,
    cached_tokens INTEGER NOT NULL DEFAULT 0,
    output_tokens INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (day, key, model)
) STRICT, WITHOUT ROWID;
