"""Programs that their makers compiled: fetched with resume, checked by their sums, unpacked."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from ansambl.domain.errors import UnavailableError
from ansambl.domain.text import text
from ansambl.engines.install.failures import InstallError, explain_program, last_words
from ansambl.engines.install.folders import make_private, remove_tree
from ansambl.engines.install.programs import ProgramError, clean_environment, run_program
from ansambl.engines.install.records import Archive, Build, Progress, Repeated, Stage
from ansambl.engines.install.unpacking import put
from ansambl.model_catalog.web import Web

FETCHING = text("fetching")
_UNPACKING = text("unpacking")
CHECKING = text("trying the engine")
_MOST = 8 << 30
_TRIES = 4


@dataclass(frozen=True, slots=True)
class ArchiveInstaller:
    """Unpacks one build into `folder`."""

    build: Build
    folder: Path
    connect: Callable[[], Web] = Web

    def run(self, progress: Progress) -> str:
        """Do all that is left to do; returns what the program said of its version.

        Raises:
            AnsamblError: something failed. What has come stays, unless it is not what was pinned.
            OSError: the folder cannot be written.
        """
        progress = Repeated(progress)
        scratch = make_private(self.folder / "scratch")
        make_private(scratch / "temporary")
        files = [self._fetch(one, scratch, progress) for one in self.build.archives]
        progress(Stage(_UNPACKING))
        target = self.folder / PurePosixPath(self.build.program).parts[0]
        coming = scratch / "coming"
        remove_tree(coming)
        for one in files:
            unpack_flat(one, coming)
        remove_tree(target)
        coming.rename(target)
        progress(Stage(CHECKING))
        try:
            words = run_program(
                [str(self.folder / self.build.program), "--version"], clean_environment(scratch / "temporary"),
                scratch / "log", look=progress.again,
            )  # fmt: skip
        except ProgramError as failure:
            raise explain_program(self.build, CHECKING, failure.words, self.folder) from failure
        remove_tree(scratch)
        return last_words(words)

    def _fetch(self, archive: Archive, scratch: Path, progress: Progress) -> Path:
        whole = scratch / Path(urlsplit(archive.url).path).name
        if whole.exists():
            return whole
        part = whole.with_name(f"{whole.name}.part")
        for attempt in range(_TRIES):
            before = part.stat().st_size if part.exists() else 0
            try:
                self._go_on(archive, part, progress)
                break
            except UnavailableError:
                if attempt == _TRIES - 1 or (part.exists() and part.stat().st_size == before):
                    raise
        digest = hashlib.sha256()
        with part.open("rb") as file:
            while piece := file.read(1 << 20):
                digest.update(piece)
        if digest.hexdigest() != archive.sha256:
            part.unlink()
            raise InstallError(
                text("{engine} was not installed: {file} is not the file that was pinned, its hash is {found} and not "
                     "{expected}; it was not kept", engine=self.build.title, file=whole.name,
                     found=digest.hexdigest()[:12] + "…", expected=archive.sha256[:12] + "…")
            )  # fmt: skip
        part.rename(whole)
        return whole

    def _go_on(self, archive: Archive, part: Path, progress: Progress) -> None:
        total = self.build.download or 0
        with self.connect() as web, part.open("ab") as output:
            start = output.tell()
            with web.stream(archive.url, start, _MOST) as chunks:
                for chunk in chunks:
                    output.write(chunk)
                    progress(Stage(FETCHING, output.tell(), max(total, output.tell()), "bytes"))


def unpack_flat(archive: Path, target: Path) -> None:
    """Unpack an archive without its one top folder.

    Raises:
        InstallError: the archive is damaged or hostile.
        OSError: it cannot be written.
    """
    make_private(target)
    try:
        with tarfile.open(archive) as packed:
            for member in packed:
                parts = PurePosixPath(member.name).parts
                if len(parts) > 1:
                    member.name = str(PurePosixPath(*parts[1:]))
                    put(packed, member, target)
    except (tarfile.TarError, EOFError) as failure:
        raise InstallError(
            text("the archive {file} cannot be unpacked ({reason})", file=archive.name, reason=str(failure))
        ) from failure
