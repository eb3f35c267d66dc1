"""`python -m flows.results guidance` writes docs/results/guidance.md, .json and its figures."""

import argparse
from pathlib import Path

from flows.errors import told
from flows.results.page import write_page

PAGES = Path("docs") / "results"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", help="of a sweep that has been run")
    parser.add_argument("--root", type=Path, default=Path.cwd(), help="the checkout in which it was run")
    options = parser.parse_args()
    with told():
        write_page(options.root.resolve(), options.name, PAGES)


if __name__ == "__main__":
    main()
