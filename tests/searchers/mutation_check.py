"""Plants bugs in the searchers, one at a time, and checks that the tests turn red on each.

    python tests/searchers/mutation_check.py [--list] [NAME ...]

Each mutant is a copy of ``searchers/`` with one line changed, in a temporary folder, imported in place of the installed
package; the working tree is never touched. Exit code 0: all mutants were caught and the unchanged copy passed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Mutant:
    """One planted bug: in ``file``, ``old`` (which must occur once) becomes ``new``."""

    file: str
    old: str
    new: str


MUTANTS = {
    "max for mean": Mutant(
        "backup.py",
        "mean_L = (tree.means_R[row_L] * visits_L + return_L) / (visits_L + 1)",
        "mean_L = np.maximum(tree.means_R[row_L], return_L)",
    ),
    "mean for max": Mutant("backup.py", "-np.inf).max(axis=1)", "np.nan).mean(axis=1)"),
    "forget the discount of the return": Mutant(
        "backup.py", "return_L = reward_L + tree.discount * return_L", "return_L = reward_L + return_L"
    ),
    "forget the discount of the edge": Mutant(
        "backup.py",
        "edge_value_L = reward_L + tree.discount * tree.values_R[row_L]",
        "edge_value_L = reward_L + tree.values_R[row_L]",
    ),
    "count the reward twice": Mutant(
        "backup.py",
        "return_L = reward_L + tree.discount * return_L",
        "return_L = 2 * reward_L + tree.discount * return_L",
    ),
    "drop an edge visit": Mutant("backup.py", "tree.edge_visits_E[edge_L] += 1", "tree.edge_visits_E[edge_L] += 0"),
    "drop a node visit": Mutant("backup.py", "tree.visits_R[row_L] = visits_L + 1", "tree.visits_R[row_L] = visits_L"),
    "value a terminal node": Mutant(
        "search.py", "value_L = np.where(result.terminal_L, 0.0, result.value_L)", "value_L = result.value_L"
    ),
    "go on after a terminal node": Mutant(
        "search.py", "finished_L = result.terminal_L | (result", "finished_L = (result"
    ),
    "ignore the depth cap": Mutant(
        "search.py", "finished_L |= tree.depths_BN[tree_L, node_L] + 1 >= self.max_depth", "pass"
    ),
    "mask tried actions before the softmax": Mutant(
        "rules.py",
        "* tree.prior_RA[edges.row_R] / (edges.count_RA + 1)",
        "* softmax(np.where(edges.seen_RA, -99.0, tree.logits_RA[edges.row_R])) / (edges.count_RA + 1)",
    ),
    "let illegal actions through": Mutant(
        "rules.py",
        "    return np.where(tree.logits_RA[edges.row_R] == -np.inf, -np.inf, scores_RA)\n\n\ndef completed_q",
        "    return scores_RA\n\n\ndef completed_q",
    ),
    "unvisited actions count as the mean": Mutant(
        "rules.py", "return np.where(edges.seen_RA, scaled_RA, 0.0)", "return np.where(edges.seen_RA, scaled_RA, 0.5)"
    ),
    "no mixed value": Mutant(
        "rules.py", "fill_R1 = (raw_R1 + visits_R1 * mean_q_R1) / (visits_R1 + 1)", "fill_R1 = raw_R1"
    ),
    "forget c_visit": Mutant("rules.py", "q_RA *= (maxvisit_init + edges", "q_RA *= (edges"),
    "visits of the improved policy without the 1": Mutant(
        "rules.py",
        "edges.count_RA / (1 + edges.count_RA.sum(axis=1, keepdims=True))",
        "edges.count_RA / np.maximum(1, edges.count_RA.sum(axis=1, keepdims=True))",
    ),
    "no uct bonus": Mutant("rules.py", "edges.q_RA + bonus_RA", "edges.q_RA"),
    "ignore leaves in flight": Mutant("rules.py", "count_RA = visits_RA + flying_RA", "count_RA = visits_RA + 0"),
    "halve to one": Mutant(
        "halving.py", "surviving = max(2, surviving // 2)\n    return", "surviving = max(1, surviving // 2)\n    return"
    ),
    "one halving phase too few": Mutant(
        "halving.py",
        "phases = math.ceil(math.log2(num_considered))",
        "phases = max(1, math.floor(math.log2(num_considered)) - 1)",
    ),
    "noise not keyed by problem": Mutant("noise.py", 'f"{purpose}\\0{key}"', "purpose"),
    "noise not keyed by seed": Mutant("noise.py", "[seed % 2**64, *words", "[0, *words"),
    "leak in-flight counters": Mutant(
        "descent.py", "tree.actions_BN[tree_L, node_L], -1)", "tree.actions_BN[tree_L, node_L], 0)"
    ),
    "dropped leaf stays in flight": Mutant("descent.py", "self._fly(tree_L, node_L, action_L, -1)", "pass"),
    "forget to choose anew": Mutant("descent.py", "        self._touched += back_up(", "        back_up("),
    "tell counts twice": Mutant("search.py", "& ~waiting.told_P[place_L]\n", "\n"),
    "sick leaf goes in": Mutant("search.py", "usable_L = result.usable()", "usable_L = np.ones(tree_L.size, np.bool_)"),
    "sick tree goes on": Mutant("search.py", "self.stop(np.unique(tree_L[~usable_L]), StopReason.NAN)", "pass"),
    "results go to the wrong leaf": Mutant(
        "search.py",
        "place_K, result = place_L[known_L], waiting.result",
        "place_K, result = place_L[known_L][::-1], waiting.result",
    ),
    "rows go stale as trees grow": Mutant(
        "search.py", "        self.tree.reserve(int((self", "        0 and self.tree.reserve(int((self"
    ),
    "rebase forgets to subtract": Mutant("rebase.py", "width -= widths[place]", "width -= 0"),
    "beam drops what is finished": Mutant(
        "beam.py", "            branch.end(node)\n    return", "            pass\n    return"
    ),
    "a finished child ends the beam": Mutant(
        "beam.py",
        "return [node for node in nodes if not branch.finished(node)]",
        "return [] if any(map(branch.finished, nodes)) else nodes",
    ),
    "vote ignores the weight": Mutant(
        "sampling.py", "branch.ends[node] * self.weight(branch, node)", "branch.ends[node]"
    ),
    "rollouts share a stream": Mutant("sampling.py", 'branch.rng(f"rollout {started}")', 'branch.rng("rollout")'),
    "merge forgets a prior": Mutant("tree.py", "prior_A[into] += prior_A[action]", "prior_A[into] += 0"),
    "reused visits count as new": Mutant(
        "gumbel.py", "new_TA = edges.count_RA - self.start_visits_BA[tree_T]", "new_TA = edges.count_RA - 0"
    ),
    "ab-mcts never refines": Mutant("abmcts.py", "refine[above].see(score)", "pass"),
    "cola extends every edge": Mutant("cola_reference.py", "** 2 < self.td_threshold", "** 2 < 99"),
    "the published gate forgets gamma": Mutant("cola_reference.py", "- self.gamma * after_A", "- after_A"),
    "published values count a reward once": Mutant(
        "cola_reference.py", "c.reward - place.reward + self.gamma * c.value", "self.gamma * c.value"
    ),
}

TIMEOUT = 300
"""Seconds after which the tests count as failed; they take about a minute."""

TESTS = ["test_vectors.py", "test_algorithms.py", "test_driver.py", "test_reuse_and_merge.py", "test_toy_mdp.py",
         "test_properties.py", "test_nan.py", "test_cola.py"]  # fmt: skip


def run_tests(searchers: Path) -> bool:
    """Whether the tests pass with the package's searchers taken from ``searchers``."""
    shim = searchers.parent / "shim"
    shim.mkdir(exist_ok=True)
    # pytest loads this plugin before any test imports colasearch.
    (shim / "use_mutant.py").write_text(
        "import importlib.util, sys\n"
        "import colasearch\n"
        "spec = importlib.util.spec_from_file_location('colasearch.searchers', "
        f"{str(searchers / '__init__.py')!r}, submodule_search_locations=[{str(searchers)!r}])\n"
        "module = importlib.util.module_from_spec(spec)\n"
        "sys.modules['colasearch.searchers'] = module\n"
        "colasearch.searchers = module\n"
        "spec.loader.exec_module(module)\n"
    )
    folder = ROOT / "tests" / "searchers"
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "use_mutant", "-p", "no:cacheprovider", "-k",
               "not standard_library_only", *(str(folder / name) for name in TESTS)]  # fmt: skip
    try:
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=TIMEOUT,
            env={**os.environ, "PYTHONPATH": str(shim)},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return False  # the bug makes the search run for ever
    if done.returncode not in (0, 1):
        raise RuntimeError(
            f"pytest could not run (exit {done.returncode}):\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        )
    return done.returncode == 0


def main() -> int:
    """Run the mutants named on the command line, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("names", nargs="*", metavar="NAME", help="mutants to run; all by default")
    parser.add_argument("--list", action="store_true", help="print the names and stop")
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(MUTANTS))
        return 0
    survivors = []
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "searchers"
        shutil.copytree(ROOT / "searchers", copy, ignore=shutil.ignore_patterns("__pycache__"))
        if not run_tests(copy):
            print("the tests fail without any mutant; mend that first")
            return 1
        for name in arguments.names or MUTANTS:
            mutant = MUTANTS[name]
            path = copy / mutant.file
            text = path.read_text()
            if text.count(mutant.old) != 1:
                raise RuntimeError(
                    f"{name}: {mutant.old!r} occurs {text.count(mutant.old)} times in {mutant.file}, not once"
                )
            path.write_text(text.replace(mutant.old, mutant.new))
            survived = run_tests(copy)
            path.write_text(text)
            print(f"{'SURVIVED' if survived else 'caught  '}  {name}", flush=True)
            if survived:
                survivors.append(name)
    print(f"{len(survivors)} mutants survived" if survivors else "every mutant was caught")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
