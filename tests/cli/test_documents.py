"""What README and docs tell people to type works.

Python blocks are run, one document's blocks after each other. Commands are run where that takes a CPU seconds; the
others, for the reasons given in ``NOT_RUN``, must at least name commands and options that there are.
"""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import click
import pytest

from colasearch.cli import main as cli

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
"""Not docs/cli, which says what --help says, and not docs/lab-notes, where nothing is to be typed today."""
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^ {4}((?:echo .*\| *)?colasearch [a-z](?:\\\n|.)*)", re.MULTILINE)

NOT_RUN = {
    r"train |iterate |experiment |adapt ": "takes minutes to hours; tests run small ones",
    r"--workers|--ray-address": "starts Ray; tests/cluster runs such commands",
    r"bench (math500|svamp|gsm8k|gym|throughput|diversity)|RUN|\.\.\.|examples/problem\.txt|What is 3\*17": "needs "
    "weights or problems from the network; `make solve` runs examples/problem.txt",
    r"bench countdown (--searcher puct --arms|--limit 50)": "takes minutes; the README's smaller ones are run",
    r"(view|compare|export) runs/(?!gumbel)": "shows a run that is not made here; the README's own are shown",
    r"bench forgetting": "compares models that are not made here; tests/benchmarks/test_forgetting.py runs it",
    r"--model q/model": "needs a model with a Q head; tests/engine/test_q_values.py runs such searches",
    r"prm:prm": "needs a model that is not made here; tests/examples makes one and scores with it",
    r"bench env:": "plays with a model of the user's; tests/agents runs such benchmarks",
    r"serve ": "runs until a signal comes; tests/serve runs servers, and the blocks of docs/serve.md",
    r"verify (outputs|countdown)\.jsonl": "grades a file of the user's; the README's example is graded",
}
QUICK = ("quickstart", "solve", "models", "data", "rewards", "tasks", "reports", "environments")
RUN = (ROOT / "README.md", *(ROOT / "docs" / f"{name}.md" for name in QUICK))
"""Documents whose quick commands are run."""
SMALL = {
    "view": ["--no-open"],
    "bench": ["--limit", "1", "--sims", "2", "--max-tokens", "16"],
    "solve": ["--sims", "2", "--max-tokens", "24"],
}
"""What is given besides: how much a command computes is not what is tested."""
RECORDS = ("results.md", "performance.md", "gpu-queue.md", "latent-actions.md")
"""Documents that say how a measurement was made, at its date and commit: nothing there is to be typed today."""


def commands(document: Path) -> list[str]:
    """The commands of a document, comments and line breaks left out; of two on a line with ``;`` the first."""
    found = (re.sub(r"\\\n\s*", " ", text) for text in COMMAND.findall(document.read_text()))
    return [re.split(r"\s+#|;", text)[0].strip() for text in found]


def is_run(command: str) -> bool:
    return not any(re.search(pattern, command) for pattern in NOT_RUN)


@pytest.mark.parametrize(
    "document",
    [d for d in DOCUMENTS if BLOCK.search(d.read_text()) and d.name != "serve.md"],  # that wants a server
    ids=lambda document: document.name,
)
def test_python_blocks_run(document, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    space: dict[str, object] = {}
    for number, block in enumerate(BLOCK.findall(document.read_text())):
        exec(compile(block, f"{document.name}, Python block {number}", "exec"), space)


def test_commands_that_take_seconds_run(colasearch, tmp_path, monkeypatch):
    """In the order of the README, which shows what it has made before; then those of the other documents."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BROWSER", "true")
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    wanted = list(dict.fromkeys(command for document in RUN for command in commands(document) if is_run(command)))
    assert len(wanted) >= 8
    for command in wanted:
        before, _, rest = command.rpartition("| ")
        stdin = " ".join(shlex.split(before)[1:]).encode()
        more = next((extra for word, extra in SMALL.items() if f" {word} " in command), [])
        done = colasearch(*shlex.split(rest)[1:], *more, stdin=stdin)
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        assert done.stdout or " view " in command, command


@pytest.mark.parametrize("document", [d for d in DOCUMENTS if d.name not in RECORDS], ids=lambda d: d.name)
def test_commands_name_options_that_there_are(document):
    for command in commands(document):
        words = shlex.split(command.rpartition("| ")[2].replace(" > verdicts.jsonl", ""))[1:]
        found: click.Command = cli.group
        context = click.Context(found)
        words = ["bench", "rows", *words[1:]] if words[:2] == ["bench", "--data"] else words
        while isinstance(found, click.Group) and words and words[0] != "--help":
            below = found.get_command(context, words.pop(0))
            assert below is not None, command
            if isinstance(below, click.Group) and (not words or words[0].startswith("-")):
                found = below
                break
            found = below
        known = {name for p in found.params if isinstance(p, click.Option) for name in (*p.opts, *p.secondary_opts)}
        given = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert given <= known | {"--help"}, f"{command}: {sorted(given - known)}"


def test_everything_that_is_not_run_is_not_run_for_a_reason_that_still_holds():
    everything = [command for document in DOCUMENTS if document.name not in RECORDS for command in commands(document)]
    for pattern in NOT_RUN:
        assert any(re.search(pattern, command) for command in everything), f"no command is left out for {pattern}"
    elsewhere = {c for d in DOCUMENTS if d.name not in RECORDS for c in commands(d) if is_run(c)}
    assert elsewhere <= {c for d in RUN for c in commands(d)}, "a quick command stands outside of what is run: run it"
