"""The id of a home, which a copy of the folder does not keep: copies share no folder or socket outside of the home.

A copy (`cp -a`, a restored backup) has another inode than its original; a moved home keeps its inode.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict

from workbench.base.durable_files import keep, kept
from workbench.base.errors import InvalidSetting
from workbench.services import file_locks
from workbench.services.service_file import PORT, STATE, SUPERVISOR_LOCK

IDENTITY = "identity.json"
_LOCK_SECONDS = 30.0


class Identity(BaseModel):
    """The id of a home, and the folder it was made for."""

    model_config = ConfigDict(frozen=True)

    id: str
    device: int
    inode: int
    path: str

    @classmethod
    def of(cls, home: Path, home_id: str) -> Self:
        status = home.stat()
        return cls(id=home_id, device=status.st_dev, inode=status.st_ino, path=str(home.resolve()))

    def is_of(self, home: Path) -> bool:
        """Return whether it was made for this folder. Device numbers may change at a reboot, paths by `mv`."""
        now = self.of(home, self.id)
        return self.inode == now.inode and (self.device == now.device or self.path == now.path)


def identity_of(home: Path) -> str:
    """Return the id of a WORKBENCH_HOME that has a folder `services`; a new home, or a copy, gets one of its own.

    Raises `InvalidSetting` for a copy whose files are hard links to those of its original.
    """
    file = home / "services" / IDENTITY
    known = kept(file, Identity.model_validate_json)
    if known is not None and known == Identity.of(home, known.id):
        return known.id
    with file_locks.locked(file.with_suffix(".lock"), file_locks.EXCLUSIVE, _LOCK_SECONDS):
        return _renewed_identity(home, file)


def _renewed_identity(home: Path, file: Path) -> str:
    known = kept(file, Identity.model_validate_json)
    if known is not None and not known.is_of(home):
        _forget_services_of_original(home)
        known = None
    home_id = known.id if known is not None else secrets.token_hex(6)
    keep(file, Identity.of(home, home_id).model_dump_json().encode())
    return home_id


def _forget_services_of_original(home: Path) -> None:
    """Remove the addresses of the original's services; one server on the files of both would destroy them."""
    for lock in home.glob(f"services/*/{SUPERVISOR_LOCK}"):
        if lock.stat().st_nlink > 1:
            raise InvalidSetting(
                f"WORKBENCH_HOME {home}: its files are hard links shared with the home it was copied from; "
                "copy it with `cp -a`, or set WORKBENCH_HOME to another folder"
            )
    for file in (*home.glob(f"services/*/{STATE}"), *home.glob(f"services/*/{PORT}")):
        file.unlink(missing_ok=True)
