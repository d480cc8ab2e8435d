"""What the owner should know of what is written down."""

from __future__ import annotations

from ansambl.app.configuration.gateway_settings import GatewaySettings
from ansambl.domain.text import Text, text
from ansambl.foundation.paths import DataPaths
from ansambl.gateway.observing.contents_log import CONTENTS_FILE


def logging_warnings(settings: GatewaySettings, paths: DataPaths) -> tuple[Text, ...]:
    """A warning while contents of requests are written to a file."""
    if not settings.log_contents:
        return ()
    return (
        text("What is asked and answered is written, word for word, to {file} (log_contents under [gateway])",
             file=paths.logs / CONTENTS_FILE),
    )  # fmt: skip
