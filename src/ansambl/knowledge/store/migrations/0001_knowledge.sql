-- What knowledge is: everything else (the folder "index") can be built from it again.
CREATE TABLE facts (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

INSERT INTO facts (name, value) VALUES
    ('store', lower(hex(randomblob(6)))),  -- which store an index was built from
    ('revision', '0'),                     -- counts changes
    ('floor', '0'),                        -- an index below it cannot catch up: deletions were applied and dropped
    ('serving', '0'),                      -- the space that searches use; 0 is words alone
    ('building', ''),                      -- the index that is built aside, as "space:generation"
    ('generation', '1'),                   -- of the index: a new one is built when deleted text must leave its files
    ('unclean', '0');                      -- 1 while the index files may still hold deleted text

CREATE TABLE collections (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    name        TEXT NOT NULL UNIQUE,
    description TEXT NOT NULL,
    created     REAL NOT NULL
);

CREATE TABLE folders (
    collection INTEGER NOT NULL REFERENCES collections (id) ON DELETE CASCADE,
    path       TEXT NOT NULL,
    include    TEXT NOT NULL,
    exclude    TEXT NOT NULL,
    PRIMARY KEY (collection, path)
) WITHOUT ROWID;

-- A file as it was when it was read to its end; it may have given several documents.
CREATE TABLE files (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    collection INTEGER NOT NULL REFERENCES collections (id) ON DELETE CASCADE,
    place      TEXT NOT NULL,
    modified   INTEGER NOT NULL,
    size       INTEGER NOT NULL,
    inode      INTEGER NOT NULL,
    digest     TEXT NOT NULL,
    refused    BLOB NOT NULL,
    UNIQUE (collection, place)
);
CREATE INDEX files_digest ON files (digest);

CREATE TABLE documents (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    collection   INTEGER NOT NULL REFERENCES collections (id),
    owner        TEXT NOT NULL,
    place        TEXT NOT NULL,
    origin       TEXT NOT NULL,
    kind         TEXT NOT NULL,
    title        TEXT NOT NULL,
    source       TEXT NOT NULL,
    form         TEXT NOT NULL,
    time         REAL,
    added        REAL NOT NULL,
    language     TEXT,
    digest       TEXT NOT NULL,
    characters   INTEGER NOT NULL,
    passages     INTEGER NOT NULL,
    record       BLOB NOT NULL,
    conversation TEXT,
    analysis     TEXT NOT NULL,
    revision     INTEGER NOT NULL,
    UNIQUE (collection, owner, place)
);
CREATE INDEX documents_origin ON documents (collection, origin);
CREATE INDEX documents_owner ON documents (owner) WHERE owner <> '';
CREATE INDEX documents_conversation ON documents (conversation) WHERE conversation IS NOT NULL;
CREATE INDEX documents_analysis ON documents (analysis);

CREATE TABLE conversations (
    document INTEGER PRIMARY KEY REFERENCES documents (id) ON DELETE CASCADE,
    bytes    BLOB NOT NULL
);

-- A document's text in compressed blocks, so that a passage is read without the rest. id = document * 2^20 + block.
CREATE TABLE texts (
    id   INTEGER PRIMARY KEY,
    data BLOB NOT NULL
);

CREATE TABLE passages (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    document    INTEGER NOT NULL REFERENCES documents (id),
    number      INTEGER NOT NULL,
    start       INTEGER NOT NULL,
    stop        INTEGER NOT NULL,
    text        TEXT,
    record      BLOB NOT NULL,
    hash        BLOB NOT NULL,
    fingerprint INTEGER NOT NULL,
    revision    INTEGER NOT NULL
);
CREATE INDEX passages_document ON passages (document, number);
CREATE INDEX passages_hash ON passages (hash);
CREATE INDEX passages_revision ON passages (revision);

CREATE TABLE terms (
    passage INTEGER PRIMARY KEY,
    data    BLOB NOT NULL
);

-- Passages that are gone, until the indexes have heard of it.
CREATE TABLE tombstones (
    passage  INTEGER PRIMARY KEY,
    revision INTEGER NOT NULL
);
CREATE INDEX tombstones_revision ON tombstones (revision);

-- Vectors of space 3 are in the table vectors_3: old and new ones side by side.
CREATE TABLE spaces (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    model     TEXT NOT NULL,
    dimension INTEGER NOT NULL,
    UNIQUE (model, dimension)
);

CREATE TABLE embedded (
    space    INTEGER NOT NULL,
    document INTEGER NOT NULL REFERENCES documents (id) ON DELETE CASCADE,
    passages INTEGER NOT NULL,
    PRIMARY KEY (space, document)
) WITHOUT ROWID;
CREATE INDEX embedded_document ON embedded (document);
