"""Folders of engines that go."""

from __future__ import annotations

from ansambl.engines.install.folders import remove_slowly


def test_an_engine_that_was_moved_to_another_disk_goes_with_the_link_to_it(tmp_path):
    real = tmp_path / "disk" / "engine"
    (real / "environment" / "lib").mkdir(parents=True)
    (real / "environment" / "lib" / "one.so").write_bytes(b"x")
    link = tmp_path / "engine"
    link.symlink_to(real)
    remove_slowly(link, lambda: None)
    assert not link.is_symlink()
    assert not real.exists()


def test_what_links_lead_to_stays(tmp_path):
    outside, engine = tmp_path / "outside", tmp_path / "engine"
    outside.mkdir()
    (outside / "kept").touch()
    (engine / "lib").mkdir(parents=True)
    (engine / "lib" / "folder").symlink_to(outside)
    (engine / "lib" / "nowhere").symlink_to(tmp_path / "gone")
    remove_slowly(engine, lambda: None)
    assert (outside / "kept").exists()
    assert not engine.exists()
