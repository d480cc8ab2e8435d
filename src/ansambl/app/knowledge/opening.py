"""Opens the knowledge of a data folder: for the running product, and for commands while nothing runs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from functools import cache

from ansambl.app.configuration.settings_file import LoadedSettings
from ansambl.app.knowledge.choosing import Asking, embedder_for, former_embedder, reranker_for, resting
from ansambl.app.knowledge.shared import Opened, SharedKnowledge
from ansambl.domain.text import text
from ansambl.foundation.paths import PRIVATE_FOLDER, DataPaths
from ansambl.knowledge.embedding import Embedder, VectorSpace


def open_knowledge(loaded: LoadedSettings, paths: DataPaths, asking: Asking | None = None) -> SharedKnowledge:
    """The knowledge of a data folder; it is opened by the first call, which raises what is wrong with it.

    `asking` says how models that run are asked. Left out, no Ansambl runs: models at an address are asked directly,
    and others give no vectors. Whoever opens it holds the data lock, and calls `close` at the end.
    """
    return SharedKnowledge(lambda: opened(loaded, paths, asking), paths.knowledge)


def opened(loaded: LoadedSettings, paths: DataPaths, asking: Asking | None = None) -> Opened:
    """Open it now.

    Raises:
        ConfigurationError: a variable that holds an address is not set.
        NotSupportedError: something that the configuration asks for is not installed.
        DataFolderError: its database cannot be used.
    """
    from ansambl.knowledge.base import KnowledgeBase, KnowledgeLimits
    from ansambl.knowledge.passages.limits import DEFAULT

    settings = loaded.settings.knowledge
    how = asking or resting(loaded)
    address = index_address(loaded)
    embedder = embedder_for(loaded, paths, how)
    reranker = reranker_for(loaded, paths, how)
    limits = KnowledgeLimits(
        passages=replace(
            DEFAULT, tokens=settings.passage_tokens, overlap=settings.overlap,
            whole=max(DEFAULT.whole, settings.passage_tokens),
        ),
        max_file=settings.max_file, max_page=settings.max_page, page_timeout=settings.page_timeout,
        allow_private_addresses=settings.allow_private_addresses, private=(os.path.realpath(paths.root),),
    )  # fmt: skip
    closing = [one.close for one in (embedder, reranker) if one is not None]

    @cache
    def embedder_of(space: VectorSpace) -> Embedder | None:
        found = former_embedder(loaded, paths, how, space)
        if found is not None:
            closing.append(found.close)
        return found

    try:
        paths.knowledge.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        base = KnowledgeBase(
            paths.knowledge, embedder=embedder, index=settings.index, address=address, reranker=reranker,
            settings=limits, embedder_of=embedder_of,
        )  # fmt: skip
    except BaseException:
        for one in closing:
            one()
        raise
    return Opened(base, closing)


def index_address(loaded: LoadedSettings, environment: Mapping[str, str] | None = None) -> str:
    """Where the server of the index is; "" where there is none.

    Raises:
        ConfigurationError: the variable that holds it is not set.
    """
    settings = loaded.settings.knowledge
    if settings.address_env is None:
        return settings.address or ""
    address = (os.environ if environment is None else environment).get(settings.address_env)
    if not address:
        raise loaded.problem(
            ("knowledge", "address_env"),
            text("the environment variable {variable} is not set; set it to the address",
                 variable=settings.address_env),
        )  # fmt: skip
    return address
