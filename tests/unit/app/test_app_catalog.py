"""What of a configuration contradicts itself is told with its file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansambl.app.catalog import catalog_of
from ansambl.app.configuration.settings_file import load_settings
from ansambl.domain.errors import ConfigurationError


@pytest.mark.parametrize(
    ("source", "line", "words"),
    [
        ('[roles.coder]\ntemperature = 0\nmodel = "nope"', 3, "roles.coder.model: 'nope' is not known"),
        (
            '[ensembles.x]\nroles = [\n"coder",\n"codr"]',
            2,
            "ensembles.x.roles: 'codr' is not known; did you mean coder?",
        ),
        ('[ensembles.x]\nroles = ["x"]', 2, "ensembles.x.roles: the ensemble contains itself: x → x"),
        ('[ensembles.x]\ndescription = "none"', 1, "ensembles.x.roles names no role"),
        ('[ensembles.x]\nroles = ["coder", "coder"]', 2, "names a role twice"),
        ('[ensembles.council]\nconductor = "who"', 2, "ensembles.council.conductor: 'who' is not known"),
        (
            '[roles.x]\ninstruction = "i"\n[roles.x.instructions]\nxx = "i"',
            4,
            "roles.x.instructions.xx: 'xx' is no lang",
        ),
        (
            '[[ensembles.auto.rules]]\nrole = "brief"\nhas = "code"\n[[ensembles.auto.rules]]\nrole = "x"\nhas="code"',
            5,
            "ensembles.auto.rules[1].role: 'x' is not known",
        ),
        (
            '[ensembles.a]\nroles = ["brief", "b"]\n[ensembles.b]\nroles = ["a"]',
            2,
            "ensembles.a.roles: the ensemble contains itself: a → b → a",
        ),
        ('[models.coder]\ncheckpoint = "embedded"', 1, "the role 'coder' and the model 'coder'"),
        ('[roles.x]\ninstruction = "i"\naliases = ["Coder"]', 3, "the role 'coder' and the role 'x'"),
        ('[roles."a[b"]\ninstruction = "i"', 1, "The name 'a[b'"),
    ],
)
def test_contradictions_name_their_line(tmp_path: Path, source: str, line: int, words: str) -> None:
    file = tmp_path / "ansambl.toml"
    file.write_text(source)
    loaded = load_settings(file, environment={})
    with pytest.raises(ConfigurationError) as raised:
        catalog_of(loaded)
    assert f"ansambl.toml line {line}: " in str(raised.value)
    assert words in str(raised.value)
