-- What was asked of each instance under each name, by day (UTC, YYYY-MM-DD). `name` is the role, ensemble or model that
-- clients asked for, '' for what happened to the instance itself. All figures are sums; tokens are those of the engine's
-- own count. `first_tokens` counts the answers whose first token was timed.
CREATE TABLE usage (
    day TEXT NOT NULL,
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
    PRIMARY KEY (day, model, name)
) STRICT, WITHOUT ROWID;
