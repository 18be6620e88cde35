"""The build step that pyproject.toml cannot express: assets and notebooks travel inside the package."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

CARRIED = {"assets": "*", "notebooks": "*.ipynb"}  # folder of the repository -> files of it


class BuildWithAssets(build_py):
    """Copies the carried folders into the built package; an editable one reads them where they are."""

    def run(self) -> None:
        """Build as usual, then add the folders."""
        super().run()
        if self.editable_mode:
            return
        for folder, pattern in CARRIED.items():
            for path in sorted(Path(folder).rglob(pattern)):
                if path.is_file():
                    target = Path(self.build_lib, "bdgan_lib", path)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy2(path, target)


setup(cmdclass={"build_py": BuildWithAssets})
