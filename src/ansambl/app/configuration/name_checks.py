"""Names in the configuration that must be those of something that there is."""

from __future__ import annotations

from pydantic import ValidationInfo

from ansambl.app.configuration.setting_types import SettingError
from ansambl.domain.names import nearest_names
from ansambl.domain.text import Text, text


def check_model(name: str, info: ValidationInfo, key: str) -> None:
    """Refuse a name that is no table of ``[models]``; nothing is said while those are wrong themselves."""
    models = info.data.get("models")
    if models is None or name in models:
        return
    nearest = nearest_names(name, models, 1)
    if nearest:
        raise SettingError(
            text('there is no [models.{name}]; did you mean "{nearest}"?', name=name, nearest=nearest[0]), key
        )
    raise SettingError(
        text("there is no [models.{name}]; there are: {known}", name=name, known=", ".join(models)), key
    )  # fmt: skip


def unknown_engine(name: str, known: tuple[str, ...]) -> Text:
    """Say that there is no engine of that name, and which there are."""
    nearest = nearest_names(name, known, 1)
    if nearest:
        return text("unknown engine '{name}'; did you mean \"{nearest}\"?", name=name, nearest=nearest[0])
    return text("unknown engine '{name}'; there are: {known}", name=name, known=", ".join(known))
