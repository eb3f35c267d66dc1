"""Lines of Markdown tables."""


def line(cells: list[str]) -> str:
    """One row."""
    return f"| {' | '.join(cells)} |"
