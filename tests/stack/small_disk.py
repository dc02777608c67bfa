"""A real file system of 64 MB, which a node-exporter sees as `/data` and a test can fill.

ext4 in a file, mounted by a loop device in the mount namespace of the exporter alone: when that ends, so does
the mount. Takes root.
"""

import os
import subprocess
from pathlib import Path

MOUNTED = 'mount -o loop "$1" "$2" && grep -F " $2 " /proc/self/mounts >"$3" && shift 3 && exec "$@"'
SIZE = 64 * 2**20


class SmallDisk:
    """The file system of one host.

    Args:
        folder: of the image, and of what stands for the host's `/` and `/proc`.
    """

    def __init__(self, folder: Path) -> None:
        self._image, self._root, self._proc = folder / "disk.img", folder / "root", folder / "proc"
        self._file = Path()

    def command(self, exporter: list[str]) -> list[str]:
        """A node-exporter's command, so that this is the one file system it sees."""
        (self._root / "data").mkdir(parents=True)
        # It reads the mounts of process 1, which is outside of its namespace; its own are put there.
        mounts = self._proc / "1" / "mounts"
        mounts.parent.mkdir(parents=True)
        with self._image.open("wb") as image:
            image.truncate(SIZE)
        subprocess.run(["mkfs.ext4", "-q", "-F", str(self._image)], check=True)
        mounted = [MOUNTED, "sh", str(self._image), str(self._root / "data"), str(mounts)]
        seen = ["--collector.filesystem", f"--path.rootfs={self._root}", f"--path.procfs={self._proc}"]
        return ["unshare", "--mount", "sh", "-c", *mounted, *exporter, *seen]

    def belongs_to(self, exporter: int) -> None:
        """It is mounted for this process."""
        self._file = Path(f"/proc/{exporter}/root{self._root}/data/filling")

    def fill(self, share: float) -> None:
        """One file takes all but this share."""
        now = os.statvfs(self._file.parent)
        self.grow(int(now.f_frsize * (now.f_bavail - share * now.f_blocks)))

    def grow(self, size: int) -> None:
        """The file takes so many bytes more."""
        with self._file.open("ab") as stream:
            os.posix_fallocate(stream.fileno(), stream.tell(), size)

    def empty(self) -> None:
        """The file goes."""
        self._file.unlink()
