"""The settings of the address where Ansambl answers: the table ``[gateway]``."""

from __future__ import annotations

from ansambl.app.configuration.setting_types import Duration, Size, Table, setting
from ansambl.domain.units import GIB, KIB, MIB, Bytes, Seconds


class GatewaySettings(Table):
    """The address where Ansambl answers."""

    host: str = setting("127.0.0.1", "The address to listen on. Other than loopback is refused while no key exists.")
    port: int = setting(8484, "The TCP port to listen on; 0 takes a free one.", ge=0, le=65535)
    max_body: Size = setting(
        Bytes(32 * MIB), "The largest request body that is read; a larger one is answered with status 413.",
        unit='bytes, or text such as "32MiB"', ge=KIB, le=GIB,
    )  # fmt: skip
    drain: Duration = setting(
        Seconds(20.0), "How long running answers may take to finish after Ansambl was told to stop.",
        unit='seconds, or text such as "20s"', ge=0, le=600,
    )  # fmt: skip
    log_requests: bool = setting(
        True, "Whether a line about each finished request, without its contents, is added to logs/requests.log."
    )
    log_contents: bool = setting(
        False, "Whether what is asked and answered is written, word for word, to logs/contents.log. For finding faults."
    )
