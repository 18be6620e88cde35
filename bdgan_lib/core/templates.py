"""Templates of the pages that the project writes."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template


def page_template(path: Path) -> Template:
    """Read an HTML template, which escapes what is put in and refuses a name that is not given.

    Args:
        path: the template; those that it includes lie beside it.
    """
    environment = Environment(
        loader=FileSystemLoader(path.parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template(path.name)
