-- What engines took and how fast they were on this machine. `machine` says what of its hardware decides; `settings`,
-- `gpus` and `memory` are JSON (memory: bytes by device and part). Speeds are sums of tokens and of seconds.
CREATE TABLE measurements (
    id INTEGER PRIMARY KEY,
    time REAL NOT NULL,
    machine TEXT NOT NULL,
    engine TEXT NOT NULL,
    version TEXT NOT NULL,
    build TEXT NOT NULL,
    checkpoint TEXT NOT NULL,
    context INTEGER NOT NULL,
    parallel INTEGER NOT NULL,
    kv_type TEXT NOT NULL,
    settings TEXT NOT NULL,
    gpus TEXT NOT NULL,
    reference TEXT NOT NULL,
    size INTEGER NOT NULL,
    quantization TEXT,
    repo TEXT,
    architecture TEXT,
    memory TEXT NOT NULL,
    resident INTEGER,
    gpu_memory INTEGER,
    load_seconds REAL,
    kv_tokens INTEGER,
    peak INTEGER,
    decoded_tokens REAL NOT NULL DEFAULT 0,
    decode_seconds REAL NOT NULL DEFAULT 0,
    prefilled_tokens REAL NOT NULL DEFAULT 0,
    prefill_seconds REAL NOT NULL DEFAULT 0,
    samples INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE INDEX measurements_checkpoint ON measurements (machine, checkpoint);
CREATE INDEX measurements_key ON measurements
    (machine, checkpoint, engine, version, build, context, parallel, kv_type, settings, gpus);
