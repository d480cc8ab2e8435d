"""Archives on the disk: the files of honest ones, and nothing outside of the folder of hostile ones."""

import io
import tarfile

import pytest

from ansambl.engines.install.archives import unpack_flat
from ansambl.engines.install.failures import InstallError
from ansambl.engines.install.source import unpack_folder
from ansambl.engines.install.unpacking import put_checked


def archive(folder, *members):
    """An archive of (name, content) files, and of members as they are."""
    path = folder / "archive.tar.gz"
    with tarfile.open(path, "w:gz") as packed:
        for one in members:
            member, content = (one, b"") if isinstance(one, tarfile.TarInfo) else (tarfile.TarInfo(one[0]), one[1])
            if not isinstance(one, tarfile.TarInfo):
                member.size, member.mode = len(content), 0o4777
            packed.addfile(member, io.BytesIO(content))
    return path


def link(name, target, kind=tarfile.SYMTYPE):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


@pytest.fixture(params=["filters", "no filters"])
def python(request, monkeypatch):
    """The Python that runs, or an older one without tarfile's filters."""
    if request.param == "no filters":
        monkeypatch.delattr(tarfile, "data_filter", raising=False)
        with_filter = tarfile.TarFile.extract
        monkeypatch.setattr(tarfile.TarFile, "extract", lambda self, member, path: with_filter(
            self, member, path, filter="fully_trusted"))  # fmt: skip


@pytest.mark.usefixtures("python")
def test_what_is_honest_is_there_and_links_work(tmp_path):
    made = archive(
        tmp_path, ("top/bin/server", b"program"), ("top/lib.so.1", b"library"), link("top/lib.so", "lib.so.1")
    )
    target = tmp_path / "target"
    unpack_flat(made, target)
    assert (target / "bin" / "server").read_bytes() == b"program"
    assert (target / "bin" / "server").stat().st_mode & 0o7777 == 0o755
    assert (target / "lib.so").read_bytes() == b"library"


@pytest.mark.usefixtures("python")
@pytest.mark.parametrize(
    "members",
    [
        [("top/../../evil", b"x")],
        [link("top/away", "/etc"), ("top/away/evil", b"x")],
        [link("top/away", "../.."), ("top/away/evil", b"x")],
        [link("top/pipe", "", tarfile.FIFOTYPE)],
    ],
    ids=["path", "link", "relative link", "pipe"],
)
def test_what_is_hostile_leaves_nothing_outside(tmp_path, members):
    made, target = archive(tmp_path, *members), tmp_path / "deep" / "target"
    with pytest.raises(InstallError, match="cannot be unpacked"):
        unpack_flat(made, target)
    assert not list(tmp_path.rglob("evil"))


@pytest.mark.usefixtures("python")
def test_of_a_source_archive_one_folder_is_taken(tmp_path):
    made = archive(tmp_path, ("pkg-1/setup.py", b"run me"), ("pkg-1/llama.cpp/src/main.cpp", b"c"))
    unpack_folder(made, "llama.cpp", tmp_path / "tree")
    assert [one.relative_to(tmp_path / "tree").as_posix() for one in (tmp_path / "tree").rglob("*.*")] == [
        "src/main.cpp"
    ]
    with pytest.raises(InstallError, match="holds no other"):
        unpack_folder(made, "other", tmp_path / "none")


def test_a_link_of_another_kind_is_no_program(tmp_path):
    made = archive(tmp_path, ("a", b"x"), link("b", "a", tarfile.LNKTYPE))
    with tarfile.open(made) as packed, pytest.raises(tarfile.TarError, match="no plain file"):
        put_checked(packed, packed.getmember("b"), tmp_path)
