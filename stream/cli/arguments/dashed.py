"""Arguments that begin with a dash: `sidestream trace -x17` asks for the item `-x17`.

Ids are whatever catalogues have. Invariant: a word that is one of the command's options, or begins with two dashes, is
never taken for an id; after `--` everything is.
"""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand


class DashedArguments(TyperCommand):
    """A command that takes a word with one dash for an argument when no option of it has that name."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As click does it; an option that does not exist is told with the way to write ids."""
        if not any(each.param_type_name == "argument" for each in self.params):
            return super().parse_args(ctx, args)
        try:
            return super().parse_args(ctx, _dashed_last(_valued(self.get_params(ctx)), args))
        except Exception as error:  # click's own class, wherever this version of Typer keeps click
            if type(error).__name__ == "NoSuchOption":
                option = getattr(error, "option_name", "")
                error.message += f" An id that begins with dashes goes last, after `--`: … -- {option}"  # type: ignore[attr-defined]
            raise


def _valued(parameters: list[Any]) -> dict[str, bool]:
    """Every option's names, and whether a value follows."""
    return {
        name: not each.is_flag and not each.count
        for each in parameters
        if each.param_type_name == "option"
        for name in (*each.opts, *each.secondary_opts)
    }


def _dashed_last(valued: dict[str, bool], words: list[str]) -> list[str]:
    """The words with all arguments in their order after a `--`, where they are taken as they are."""
    end = words.index("--") if "--" in words else len(words)
    glued = tuple(name for name, value in valued.items() if value and len(name) == 2)  # -k5
    options: list[str] = []
    arguments: list[str] = []
    rest = iter(words[:end])
    for word in rest:
        option = word.startswith("--") or word in valued or word.startswith(glued)
        (options if option else arguments).append(word)
        if valued.get(word):
            options += [value for value in [next(rest, None)] if value is not None]
    return [*options, "--", *arguments, *words[end + 1 :]]
