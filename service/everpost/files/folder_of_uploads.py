"""The folder of uploads: files by their ids, and the parts of uploads. Every method blocks."""

from pathlib import Path

from everpost.errors import DiskFull
from everpost.files.names import partial_name
from everpost.files.partial import PartialFile
from everpost.flushing import flush


class UploadFolder:
    """The folder in which uploads arrive and stay.

    Args:
        least_free_bytes: Bytes that stay free on its disk.
    """

    def __init__(self, root: Path, least_free_bytes: int) -> None:
        self.root = root
        self._least_free_bytes = least_free_bytes

    def part_of(self, file_id: str) -> Path:
        """Where the bytes of an upload arrive."""
        return self.root / partial_name(file_id)

    def open_part(self, file_id: str) -> PartialFile:
        """Open the part of an upload, or make it. Raises the errors of `PartialFile.open`."""
        return PartialFile.open(self.part_of(file_id), self._least_free_bytes)

    def make_room(self, file_id: str, size_bytes: int) -> None:
        """Make the part of a new upload, if the disk has room for the whole file.

        Raises:
            DiskFull: It does not have it.
        """
        self.root.mkdir(mode=0o777, parents=True, exist_ok=True)
        part = self.open_part(file_id)
        try:
            part.check_room(size_bytes)
        except DiskFull:
            part.remove()
            raise
        finally:
            part.close()

    def arrived(self, file_id: str) -> int:
        """How many bytes of an upload have arrived."""
        try:
            return self.part_of(file_id).stat().st_size
        except FileNotFoundError:
            found = self.find_named(file_id)
            return 0 if found is None else found.stat().st_size

    def find_named(self, file_id: str) -> Path | None:
        """The complete file with this id; None if it is missing."""
        paths = (path for path in self.root.glob(f"{file_id}*") if path.name != partial_name(file_id))
        return next(paths, None)

    def give_name(self, part: Path, name: str) -> None:
        """Give a complete part its own name, which is on the disk when this returns."""
        part.rename(self.root / name)
        flush(self.root)

    def remove(self, name: str) -> None:
        """Remove a file."""
        (self.root / name).unlink(missing_ok=True)

    def remove_upload(self, file_id: str) -> None:
        """Remove what there is of an upload: its part, and the whole file if the process died before its record."""
        self.part_of(file_id).unlink(missing_ok=True)
        if (named := self.find_named(file_id)) is not None:
            named.unlink(missing_ok=True)
