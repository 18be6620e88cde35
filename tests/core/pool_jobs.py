"""Jobs of test_parallel.py, in a module that a new process can import."""

import os

from bdgan_lib.core.parallel import report
from bdgan_lib.core.types import BdganError


def keep(data: bytes) -> None:
    os.environ["KEPT"] = str(len(data))


def add(number: int) -> int:
    return number + int(os.environ["KEPT"])


def tell(number: int) -> None:
    report(number, "drawn")


def refuse(job: object) -> None:
    raise BdganError(f"no {job}")


class Stubborn(Exception):
    def __init__(self, text, job) -> None:
        super().__init__(text)


def stubborn(job: object) -> None:
    raise Stubborn("not to be pickled", job)


def function(job: object) -> object:
    return lambda: job
