"""Model names: ``M``, or ``M:SEARCHER-SIMS`` for another searcher or number of simulations."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches

from colasearch.searchers.registry import ALGORITHMS, spelled
from colasearch.serve.errors import ApiError

SHORT = {"best_of": "best_of_n"}
"""Names of searchers that are only used here."""
_SUFFIX = re.compile(r"(?P<searcher>[A-Za-z_-]*[A-Za-z])(?:-(?P<sims>\d{1,9}))?")


@dataclass(frozen=True, slots=True)
class Names:
    """The names that one served model has.

    Attributes:
        model: Its plain name.
        searcher: That of the plain name.
        sims: Simulations, where a name gives none.
        most_sims: Most simulations that a name may ask for.
    """

    model: str
    searcher: str
    sims: int
    most_sims: int

    def read(self, name: str) -> tuple[str, int]:
        """Searcher and simulations of a name.

        Raises:
            ApiError: 404: another model, or no such searcher. 400: more simulations than are allowed.
        """
        if name == self.model:
            return self.searcher, self.sims
        start, suffix = self.model + ":", name[len(self.model) + 1 :]
        if not name.startswith(start):
            raise self._unknown(f"the model {name!r} is not served here; this server has {self.model!r}")
        found = _SUFFIX.fullmatch(suffix)
        searcher = "" if found is None else found["searcher"].replace("-", "_").lower()
        searcher = spelled(SHORT.get(searcher, searcher))
        if found is None or searcher not in ALGORITHMS:
            near = get_close_matches(searcher, ALGORITHMS, n=1)
            meant = f" Did you mean {near[0].replace('_', '-')}?" if near else ""
            known = ", ".join(sorted(known.replace("_", "-") for known in ALGORITHMS))
            raise self._unknown(
                f"{suffix!r} names no searcher; write {start}SEARCHER-SIMS, such as {start}gumbel-64, with one of "
                f"{known}.{meant}"
            )
        sims = self.sims if found["sims"] is None else int(found["sims"])
        if not 1 <= sims <= self.most_sims:
            raise ApiError(
                400,
                f"{name!r} asks for {sims} simulations; this server does 1 to {self.most_sims} (--max-sims)",
                param="model",
            )
        return searcher, sims

    def listed(self) -> list[str]:
        """Names to show: the plain one, and one for each searcher."""
        others = [
            f"{self.model}:{searcher.replace('_', '-')}" + ("" if searcher == "greedy" else f"-{self.sims}")
            for searcher in sorted(ALGORITHMS)
        ]
        return [self.model, *others]

    @staticmethod
    def _unknown(message: str) -> ApiError:
        return ApiError(404, message, code="model_not_found", param="model")
