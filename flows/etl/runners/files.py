"""Small JSON files in a folder, here or on S3: as much of pathlib's interface as both have."""

from pathlib import Path
from typing import Any


def write_whole(path: Any, text: str) -> None:  # noqa: ANN401  # a path here or on S3
    """Write a file that is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not isinstance(path, Path):  # S3 takes it whole
        path.write_text(text, encoding="utf-8")
        return
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def listed(folder: Any) -> list[Any]:  # noqa: ANN401
    """The JSON files of a folder; none where it is not there."""
    paths = folder.glob("*") if isinstance(folder, Path) else folder.walk()
    return sorted(path for path in paths if path.suffix == ".json" and not path.name.startswith("."))
