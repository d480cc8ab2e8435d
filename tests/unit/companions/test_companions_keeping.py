"""The secrets between Open WebUI and Ansambl, and the folders of what it keeps."""

from __future__ import annotations

import stat
from pathlib import Path

from ansambl.companions.open_webui.keeping import Places, keep_secrets


def test_secrets_survive_restarts_and_are_for_the_user_alone(tmp_path: Path) -> None:
    places = Places(tmp_path / "companions")
    first = keep_secrets(places, "ansambl-first-key-of-many-letters")
    assert keep_secrets(places, "ansambl-second-key-of-many-letters") == first
    assert stat.S_IMODE(places.secrets.stat().st_mode) == 0o600
    assert stat.S_IMODE(places.own.stat().st_mode) == 0o700
    assert first.session not in repr(first)


def test_a_renewed_key_keeps_the_sessions(tmp_path: Path) -> None:
    places = Places(tmp_path)
    first = keep_secrets(places, "ansambl-first-key-of-many-letters")
    second = keep_secrets(places, "ansambl-second-key-of-many-letters", renew=True)
    assert (second.key, second.session) == ("ansambl-second-key-of-many-letters", first.session)
    assert keep_secrets(places, "ansambl-third-key-of-many-letters") == second


def test_a_damaged_file_is_made_anew(tmp_path: Path) -> None:
    places = Places(tmp_path)
    keep_secrets(places, "ansambl-first-key-of-many-letters")
    places.secrets.write_bytes(b"{")
    assert keep_secrets(places, "ansambl-other-key-of-many-letters").key == "ansambl-other-key-of-many-letters"


def test_who_signs_in_never_meets_the_account_of_who_does_not(tmp_path: Path) -> None:
    places = Places(tmp_path)
    assert places.data(signs_in=True) != places.data(signs_in=False)
    assert places.programs not in places.own.parents
