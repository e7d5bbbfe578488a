"""Output files: checked before any work, written to a partial file in the same folder, renamed when complete."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError, OutputError

if TYPE_CHECKING:
    from io import BufferedRandom

    from torch import Tensor

_NAME_BYTES = 255  # the limit of the usual file systems
_SYNC_EVERY = 1.0  # seconds


def partial_path(path: Path, word: str = "partial") -> Path:
    """The name of the partial file of `path`: same folder, so that renaming is atomic, and same suffix.

    A name that would be too long for the file system is cut, and told from others by a hash.
    """
    whole = path.with_name(f"{path.stem}.{word}{path.suffix}")
    excess = len(os.fsencode(whole.name)) - _longest_name(path.parent)
    if excess <= 0:
        return whole
    mark = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:8]
    kept = os.fsencode(path.stem)[: -excess - len(mark) - 1].decode("utf-8", "ignore")
    return path.with_name(f"{kept}~{mark}.{word}{path.suffix}")


def _longest_name(folder: Path) -> int:
    """The most bytes that the name of a file in `folder` may have."""
    try:
        return os.pathconf(folder, "PC_NAME_MAX")
    except (AttributeError, OSError, ValueError):  # Windows, or no such folder
        return _NAME_BYTES


def check_suffix(path: Path, suffixes: tuple[str, ...]) -> None:
    """Raises OutputError unless `path` ends with one of `suffixes`."""
    if path.suffix.lower() not in suffixes:
        raise OutputError(f"{path} must end with {' or '.join(suffixes)}, but ends with {path.suffix!r}: rename it.")


def prepare_output(path: Path, suffixes: tuple[str, ...]) -> Path:
    """Checks that `path` can be written; creates an empty partial file and returns its path.

    The folder is created if its own parent exists.

    Raises:
        OutputError: wrong suffix, `path` is a folder, a name that the file system does not take, no such folder, or no
            permission to write there.
    """
    check_suffix(path, suffixes)
    try:
        if path.is_dir():
            raise OutputError(f"{path} is a folder, but a file is to be written: add a file name.")
        path.parent.mkdir(exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            path.lstat()  # the partial file's name may be fine where this one is too long
        partial = partial_path(path)
        partial.write_bytes(b"")
    except FileNotFoundError as error:
        raise OutputError(f"{path} cannot be written, as {path.parent} does not exist: create that folder.") from error
    except (OSError, ValueError) as error:  # ValueError: a name with a null character
        if getattr(error, "errno", None) == errno.ENAMETOOLONG:
            raise OutputError(f"{path.name} is too long a name for this disk: choose a shorter one.") from error
        raise OutputError(
            f"{path} cannot be written ({getattr(error, 'strerror', error)}): choose a folder that you may write to."
        ) from error
    return partial


class DiskSync:
    """Has the system put a growing file on the disk itself, so that a power cut loses little."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("r+b")
        self._last = time.monotonic()

    def often(self) -> None:
        """Does it if the last time is more than a second ago. Raises OSError where the disk is full or broken."""
        if time.monotonic() - self._last > _SYNC_EVERY:
            sync(self._file)
            self._last = time.monotonic()

    def close(self) -> None:
        self._file.close()


def sync(file: BufferedRandom) -> None:
    """Returns when the content of `file` is on the disk; does nothing where a file system has no such call."""
    try:
        os.fsync(file.fileno())
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise


def put_in_place(partial: Path, path: Path) -> None:
    """Renames the finished `partial` to `path`, replacing what was there.

    Raises:
        OutputError: the old file cannot be replaced; `partial` stays where it is.
    """
    try:
        with partial.open("r+b") as file:
            sync(file)
        os.replace(partial, path)  # noqa: PTH105  (the one call that is atomic and replaces on every system)
    except OSError as error:
        raise OutputError(
            f"{path} cannot be replaced ({error.strerror}): the finished file is {partial}; "
            "close the program that holds the old one and rename it."
        ) from error


@contextlib.contextmanager
def whole_file(path: Path, suffixes: tuple[str, ...]) -> Iterator[Path]:
    """Yields the partial file to write to; on success it is renamed to `path`, on any error it is deleted.

    Raises:
        OutputError: as `prepare_output` and `put_in_place`, or an OSError while the block writes.
    """
    partial = prepare_output(path, suffixes)
    try:
        yield partial
    except BaseException as error:
        partial.unlink(missing_ok=True)
        if isinstance(error, OSError):
            reason = error.strerror or error
            raise OutputError(f"{path} was not written ({reason}): free space and try again.") from error
        raise
    put_in_place(partial, path)  # where this fails the partial file is whole, and stays


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Writes a safetensors file from tensors on any device.

    Raises:
        OutputError: wrong suffix, no such folder, or a full disk; an older file of that name then stays unchanged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    with whole_file(path, (".safetensors",)) as partial:
        partial.touch()
        mode = partial.stat().st_mode  # as of any new file; safetensors 0.8 makes files that only their owner can read
        try:
            save_file(_separate(tensors), partial, metadata)
            partial.chmod(mode)
        except SafetensorError as error:  # what safetensors raises when the disk is full
            raise OSError(str(error)) from error


def _separate(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous CPU tensors without shared memory, which safetensors refuses; only those that share are copied."""
    separate: dict[str, Tensor] = {}
    owners: set[int] = set()
    for key, tensor in tensors.items():
        own = tensor.detach().cpu().contiguous()
        storage = own.untyped_storage()
        if storage.nbytes() != own.nbytes or storage.data_ptr() in owners:
            own = own.clone()
        owners.add(own.untyped_storage().data_ptr())
        separate[key] = own
    return separate


def check_written(path: Path, suffixes: tuple[str, ...], read: dict[str, Path]) -> None:
    """Raises InputError if writing `path` would change one of the `read` files, OutputError if it cannot be written."""
    refuse_reading(path, read)
    prepare_output(path, suffixes).unlink()


def refuse_reading(path: Path, read: dict[str, Path]) -> None:
    """Raises InputError if `path` or its partial file is one of the `read` files (role -> path)."""
    for name, other in read.items():
        if same_file(path, other) or same_file(partial_path(path), other):
            raise InputError(f"writing {path} would overwrite {other}, the {name}: give the output another name")


def same_file(one: Path, other: Path) -> bool:
    """Whether both paths lead to the same file, also through links; the file need not exist."""
    try:
        return one.resolve() == other.resolve() or (one.exists() and other.exists() and one.samefile(other))
    except (OSError, ValueError):  # a name that the file system does not take: no file has it
        return False


def load_tensors(path: Path, *schemas: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and metadata of a file that `save_tensors` wrote with one of `schemas`, such as personalive-motion-1.

    The tensors are copies: the file may be replaced, cut or written over while they are in use. Raises InputError for
    any other file.
    """
    from safetensors import SafetensorError, safe_open

    kind = schemas[0].split("-")[1]
    try:
        with _utf8_name(path) as name, safe_open(name, framework="pt", device="cpu") as file:
            metadata = dict(file.metadata() or {})
            found = metadata.get("schema", "none")
            if found not in schemas:
                raise InputError(
                    f"{path.name} is no {kind} file of this version (expected schema {' or '.join(schemas)}, found "
                    f"{found if found.isprintable() else ascii(found):.60}): choose another, or make it again"
                )
            # copied: safetensors only maps the file, which Windows then does not let anyone replace
            return {key: _copied(file.get_tensor(key)) for key in file.keys()}, metadata  # noqa: SIM118 - no mapping
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"{path} cannot be read as a {kind} file ({_unreadable(path)}): check the path, or make it again"
        ) from error


def _copied(tensor: Tensor) -> Tensor:
    """A copy of the same bytes; of a bool, torch itself copies any byte but 0 as 1."""
    import torch

    if tensor.dtype == torch.bool:
        return tensor.view(torch.uint8).clone().view(torch.bool)
    return tensor.clone()


def schema_of(path: Path) -> str | None:
    """The schema of a file that `save_tensors` wrote; None for any other, also one that cannot be read."""
    from safetensors import SafetensorError, safe_open

    try:
        with _utf8_name(path) as name, safe_open(name, framework="pt", device="cpu") as file:
            return dict(file.metadata() or {}).get("schema")
    except (SafetensorError, OSError):
        return None


@contextlib.contextmanager
def _utf8_name(path: Path) -> Iterator[str]:
    """Yields a name of the file that safetensors takes: it refuses those that are no UTF-8, which POSIX allows."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        with path.open("rb") as file:
            yield f"/dev/fd/{file.fileno()}"
    else:
        yield str(path)


def _unreadable(path: Path) -> str:
    """Why safetensors cannot read `path`, in plain words: its own are those of its parser."""
    try:
        if path.is_dir():
            return "it is a folder"
        with path.open("rb") as file:
            return "it is damaged, or no safetensors file" if file.read(1) else "it is empty"
    except OSError as error:
        return error.strerror or "it cannot be opened"
