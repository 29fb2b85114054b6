"""What a long run measures, as plain text."""

from __future__ import annotations


class Figures(dict[str, str]):
    """Names of figures, and what was found."""

    def note(self, name: str, found: object) -> None:
        """One more, or one in place of what was found before."""
        self[name] = str(found)

    def table(self) -> str:
        """A line for each."""
        width = max(map(len, self), default=0)
        return "\n".join(f"{name:<{width}}  {found}" for name, found in self.items())
