"""What the admin API lets people read beside the state: as the commands say it, by the same code."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from ansambl.api.reading_schemas import (
    CheckDocument,
    ConfigurationDocument,
    DoctorDocument,
    KeyUsageRowDocument,
    ModelsDocument,
    RequestsListDocument,
    TrafficDocument,
    UsageDocument,
    UsageRowDocument,
)
from ansambl.app.admin.desk import Desk
from ansambl.app.admin.event_board import request_document
from ansambl.app.admin.traffic import traffic_document
from ansambl.app.check import Level
from ansambl.app.configuration.settings_file import LoadedSettings
from ansambl.app.configuration.shown_settings import without_secrets
from ansambl.app.doctor import examine
from ansambl.app.engine_book import EngineBook, entries_to_json
from ansambl.app.model_uses import models_document
from ansambl.app.wiring import Product
from ansambl.foundation.paths import DataPaths
from ansambl.foundation.sqlite import Database
from ansambl.runtime.usage import read_key_usage, read_usage

Translate = Callable[[str], str]


class ProductReading:
    """Implements `ansambl.api.reading.ReadingControls` on a product and the settings in effect, by `loaded`."""

    def __init__(
        self, product: Product, desk: Desk, loaded: Callable[[], LoadedSettings], paths: DataPaths, database: Database
    ) -> None:
        self._product = product
        self._desk = desk
        self._loaded = loaded
        self._paths = paths
        self._database = database

    async def usage(self, days: int) -> UsageDocument:
        """Usage by day, what was not written yet included."""
        self._product.usage.write()
        # It is written in order, so this waits for it.
        await self._database.run(lambda _: None)
        since = datetime.now(UTC).date() - timedelta(days=days - 1)
        path = self._paths.database
        rows, keys = await asyncio.to_thread(lambda: (read_usage(path, since=since), read_key_usage(path, since=since)))
        return UsageDocument(
            usage=[
                UsageRowDocument(day=str(one.day), model=one.model, name=one.name, **asdict(one.usage)) for one in rows
            ],
            by_key=[
                KeyUsageRowDocument(day=str(one.day), key=one.key, model=one.model, **asdict(one.usage)) for one in keys
            ],
        )

    def traffic(self, minutes: int, step: int) -> TrafficDocument:
        """The newest minutes."""
        return traffic_document(self._product.usage, minutes, step, time.time())

    def requests(self, limit: int, key: str | None) -> RequestsListDocument:
        """The newest requests."""
        recent = self._product.gateway.metrics.recent
        return RequestsListDocument(requests=[request_document(one) for one in recent.newest(limit, key=key)])

    async def doctor(self, translate: Translate) -> DoctorDocument:
        """All checks."""
        file = self._loaded().file
        checks = await self._desk.answer(lambda: examine(file))
        return DoctorDocument(
            healthy=all(one.level is not Level.PROBLEM for one in checks),
            checks=[
                CheckDocument(
                    name=one.name, level=one.level.value, message=one.message.render(translate),
                    fix=one.fix.render(translate) if one.fix else None,
                )
                for one in checks
            ],
        )  # fmt: skip

    def configuration(self) -> ConfigurationDocument:
        """The settings in effect."""
        loaded = self._loaded()
        return ConfigurationDocument(
            file=str(loaded.file.absolute()) if loaded.file else None,
            settings=without_secrets(loaded.settings.model_dump(mode="json")), origins=dict(loaded.origins),
        )  # fmt: skip

    async def models(self, translate: Translate) -> ModelsDocument:
        """The checkpoints on this machine."""
        loaded = self._loaded()
        return await self._desk.answer(lambda: models_document(loaded, self._paths, translate))

    async def engines(self, translate: Translate) -> dict[str, Any]:
        """Every engine."""
        loaded = self._loaded()
        return await self._desk.answer(lambda: entries_to_json(EngineBook(loaded, self._paths).entries(), translate))
