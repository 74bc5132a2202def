"""The tree viewer: layout, folding, search, zoom, keyboard, large trees. Expected values come from the trace itself."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
from runs_made import made_trace

from colasearch.report import view_trace
from colasearch.storage.traces import Trace

CARDS = "[...document.querySelectorAll('.tree .card')]"
TREE = "document.querySelector('.tree')"
SHOWN = "Number(document.querySelector('.node').dataset.shown)"


@pytest.fixture
def tree(chrome, tmp_path: Path):
    """A function that shows a trace and returns it."""

    def show(trace: Trace) -> Trace:
        trace.write(tmp_path / "t.json.gz")
        view_trace(tmp_path / "t.json.gz", tmp_path / "t.html")
        chrome.open(tmp_path / "t.html")
        chrome.until(f"{CARDS}.length > 0 && !!document.querySelector('.node')")
        return trace

    return show


def press(chrome, label: str) -> None:
    chrome.run(f"[...document.querySelectorAll('.toolbar button')].find(b => b.textContent === {label!r}).click(); 0")


def boxes(chrome) -> dict[int, list[float]]:
    """Each drawn card's place, in pixels of the window: left, top, right, bottom."""
    place = "(r => [r.left, r.top, r.right, r.bottom])(c.getBoundingClientRect())"
    found = chrome.run(f"JSON.stringify({CARDS}.map(c => [c.dataset.node, {place}]))")
    return {int(node): box for node, box in json.loads(found)}


def best_path(trace: Trace) -> list[int]:
    path, slot = [], trace.best_node
    while slot >= 0:
        path.append(slot)
        slot = trace.nodes[slot].parent
    return path[::-1]


def hang_below(trace: Trace) -> list[list[int]]:
    children: list[list[int]] = [[] for _ in trace.nodes]
    for slot, node in enumerate(trace.nodes[1:], 1):
        children[node.parent].append(slot)
    return children


@pytest.mark.parametrize("seed", range(4))
def test_the_layout_has_no_overlaps_parents_left_of_children_and_the_best_path_on_top(chrome, tree, seed: int) -> None:
    trace = tree(made_trace("layout", 150, seed))
    press(chrome, "Expand all")
    press(chrome, "Fit")
    found = boxes(chrome)
    assert sorted(found) == list(range(150))
    top = min(box[1] for box in found.values())
    for slot in best_path(trace):
        assert found[slot][1] == pytest.approx(top, abs=0.01)
    ordered = sorted(found.values())
    for i, (_, upper, right, lower) in enumerate(ordered):
        for other in ordered[i + 1 :]:
            if other[0] >= right:
                break
            assert other[1] >= lower - 1e-3 or other[3] <= upper + 1e-3, "two cards overlap"
    for slot, node in enumerate(trace.nodes[1:], 1):
        assert found[slot][0] > found[node.parent][2] - 1e-3
        assert found[slot][1] >= found[node.parent][1] - 1e-3
    # Siblings stand from the most visited to the least, after the one on the selected path.
    for kids in hang_below(trace):
        rest = sorted((k for k in kids if k not in best_path(trace)), key=lambda k: found[k][1])
        visits = [trace.nodes[k].visits for k in rest]
        assert visits == sorted(visits, reverse=True)


def test_lines_down_from_two_parents_never_share_a_stretch(chrome, tree) -> None:
    """Vertical lines stand in the gap beside their parent's column; in a column their spans must not overlap."""
    trace = tree(made_trace("lines", 300, 2))
    press(chrome, "Expand all")
    press(chrome, "Fit")
    found = boxes(chrome)
    spans: dict[float, list[tuple[float, float]]] = {}
    for slot, kids in enumerate(hang_below(trace)):
        if kids:
            spans.setdefault(round(found[slot][0]), []).append((found[slot][1], max(found[k][1] for k in kids)))
    for column in spans.values():
        column.sort()
        for (_, end), (begin, _) in itertools.pairwise(column):
            assert begin >= end - 1e-3


def test_a_card_and_the_panel_give_the_numbers_of_the_trace(chrome, tree) -> None:
    trace = tree(made_trace("numbers", 20))
    slot = best_path(trace)[1]
    node = trace.nodes[slot]
    card = chrome.run(f"document.querySelector('#node{slot}').textContent")
    assert f"Q {node.value:.2f}" in card
    assert f"P {node.prior:.{3 if node.prior < 0.0995 else 2}f}" in card
    assert f"c{node.codes[0]}" in card
    assert f"{node.visits}" in card
    chrome.run(f"document.querySelector('#node{slot} .words').click(); 0")
    assert chrome.run(SHOWN) == slot
    panel = chrome.run(
        "Object.fromEntries([...document.querySelectorAll('.numbers dt')]"
        ".map(d => [d.textContent, d.nextSibling.textContent]))"
    )
    assert panel["Q"] == f"{node.value:.4f}"
    assert panel["estimate"] == f"{node.raw_value:.4f}"
    assert panel["prior"] == f"{node.prior:.4f}"
    assert panel["visits"].startswith(f"{node.visits} (")
    assert panel.get("codes", panel.get("code")) == ", ".join(map(str, node.codes))
    assert chrome.run("document.querySelector('.node .block').textContent") == node.text
    deep = best_path(trace)[-1]
    chrome.run(f"document.querySelector('#node{deep} .words')?.click(); 0")
    if chrome.run(SHOWN) == deep and len(best_path(trace)) > 2:
        whole = "".join(trace.nodes[s].text for s in best_path(trace)[1:])
        assert chrome.run("[...document.querySelectorAll('.node .block')].at(-1).textContent") == whole


@pytest.mark.parametrize(("nodes", "seed"), [(2, 0), (12, 3), (24, 1), (150, 0)])
def test_a_tree_opens_fitted_with_the_chosen_node_in_view(chrome, tree, nodes: int, seed: int) -> None:
    trace = tree(made_trace("opens", nodes, seed))
    frame = chrome.run(f"(r => [r.left, r.top, r.right, r.bottom])({TREE}.getBoundingClientRect())")
    left, top, right, bottom = boxes(chrome)[trace.best_node]
    assert frame[0] <= left < right <= frame[2] + 1
    assert frame[1] <= top < bottom <= frame[3] + 1
    assert right - left >= 0.49 * 232, "a card that opens too small to be read"


def test_a_finished_text_shows_what_it_is_worth(chrome, tree) -> None:
    import dataclasses

    made = made_trace("worth", 20)
    slot = next(s for s, n in enumerate(made.nodes) if n.end == "answer")
    leaf = dataclasses.replace(made.nodes[slot], value=0.0, reward=0.875, codes=(*range(60), 63))
    trace = tree(dataclasses.replace(made, nodes=(*made.nodes[:slot], leaf, *made.nodes[slot + 1 :]), best_node=slot))
    assert trace.best_node == chrome.run(SHOWN)
    card = chrome.run(f"document.querySelector('#node{slot}').textContent")
    assert "worth 0.88" in card or "worth 0.87" in card
    assert "Q " not in card
    panel = chrome.run("document.querySelector('.numbers').innerText")
    assert "0.8750" in panel
    assert "reward" not in panel
    assert "0\u201359, 63" in panel


def test_large_trees_begin_folded_and_unfold(chrome, tree) -> None:
    trace = tree(made_trace("folds", 80))
    path, below = set(best_path(trace)), hang_below(trace)
    expected = 1 + sum(len(below[slot]) for slot in path)
    assert int(chrome.run(f"{TREE}.dataset.shown")) == expected < 80
    press(chrome, "Expand all")
    assert int(chrome.run(f"{TREE}.dataset.shown")) == 80
    chrome.run(f"{TREE}.focus(); 0")
    chrome.key("Home")  # the root may be out of view
    chrome.run("document.querySelector('#node0 .fold').click(); 0")
    assert int(chrome.run(f"{TREE}.dataset.shown")) == 1
    assert chrome.run("document.querySelector('#node0 .fold').textContent") == "+79"
    press(chrome, "Selected path")
    assert int(chrome.run(f"{TREE}.dataset.shown")) == expected
    assert chrome.run(SHOWN) == trace.best_node


def test_search_finds_text_answers_and_codes_and_unfolds_them(chrome, tree) -> None:
    trace = tree(made_trace("search", 120))

    def look(query: str) -> str:
        typed = f"f.value = {query!r}; f.dispatchEvent(new Event('input')); f.focus(); 0"
        chrome.run(f"{{ const f = document.querySelector('.toolbar input'); {typed} }}")
        return chrome.run("document.querySelector('.toolbar .found').textContent")

    with_answer = [s for s, n in enumerate(trace.nodes) if "answer is 47" in n.text]
    assert look("Answer is 47") == f"{len(with_answer)} found"
    visited = []
    for _ in with_answer:
        chrome.key("Enter")
        visited.append(chrome.run(SHOWN))
        assert chrome.run(f"document.querySelector('#node{visited[-1]}').classList.contains('match')")
    assert visited == with_answer
    with_code = [s for s, n in enumerate(trace.nodes) if 17 in n.codes]
    assert look("c17") == f"{len(with_code)} found"
    assert look("<nothing like it>") == "0 found"
    assert look("") == ""


def test_the_keyboard_reaches_every_node_and_folds(chrome, tree) -> None:
    trace = tree(made_trace("keys", 20))
    below = hang_below(trace)
    chrome.run(f"{TREE}.focus(); 0")
    chrome.key("Home")
    assert chrome.run(SHOWN) == 0
    chrome.key("ArrowRight")
    first = chrome.run(SHOWN)
    assert first == best_path(trace)[1]
    chrome.key("ArrowLeft")
    assert chrome.run(SHOWN) == 0
    chrome.key("Enter")
    assert int(chrome.run(f"{TREE}.dataset.shown")) == 1
    chrome.key("ArrowRight")
    assert int(chrome.run(f"{TREE}.dataset.shown")) == 20
    # To each node with children by the keys alone, and down its children: that is every node.
    seen = set()
    for slot in range(20):
        if not below[slot]:
            continue
        chrome.key("Home")
        for step in path_to(trace, slot)[1:]:
            chrome.key("ArrowRight")
            for _ in range(20):
                if chrome.run(SHOWN) == step:
                    break
                chrome.key("ArrowDown")
            assert chrome.run(SHOWN) == step
            seen.add(step)
        chrome.key("ArrowRight")
        for _ in below[slot]:
            seen.add(chrome.run(SHOWN))
            chrome.key("ArrowDown")
    assert seen >= set(range(1, 20))
    chrome.key("b")
    assert chrome.run(SHOWN) == trace.best_node
    assert chrome.run(f"{TREE}.getAttribute('aria-activedescendant')") == f"node{trace.best_node}"
    chrome.key("/")
    assert chrome.run("document.activeElement === document.querySelector('.toolbar input')")


def path_to(trace: Trace, slot: int) -> list[int]:
    path = []
    while slot >= 0:
        path.append(slot)
        slot = trace.nodes[slot].parent
    return path[::-1]


def test_drag_moves_wheel_zooms_at_the_pointer_and_a_drag_is_no_click(chrome, tree) -> None:
    tree(made_trace("drag", 20))
    x, y = chrome.run(f"(() => {{ const r = {TREE}.getBoundingClientRect(); return [r.left + 150, r.top + 40]; }})()")
    before, shown = boxes(chrome)[0], chrome.run(SHOWN)
    chrome.mouse("mousePressed", x, y, button="left", clickCount=1)
    for step in range(1, 6):
        chrome.mouse("mouseMoved", x + 10 * step, y + 6 * step, button="left", buttons=1)
    chrome.mouse("mouseReleased", x + 50, y + 30, button="left", clickCount=1)
    after = boxes(chrome)[0]
    assert [a - b for a, b in zip(after, before, strict=True)] == pytest.approx([50, 30, 50, 30], abs=11)
    assert chrome.run(SHOWN) == shown
    chrome.mouse("mouseWheel", x, y, deltaX=0, deltaY=-200, modifiers=2)
    zoomed = boxes(chrome)[0]
    factor = (zoomed[2] - zoomed[0]) / (after[2] - after[0])
    assert factor > 1.5
    # What was under the pointer still is.
    assert (x - zoomed[0]) == pytest.approx(factor * (x - after[0]), abs=1.5)
    assert (y - zoomed[1]) == pytest.approx(factor * (y - after[1]), abs=1.5)


def test_a_thousand_nodes_draw_only_what_is_in_view(chrome, tree) -> None:
    tree(made_trace("large", 1000, 1))
    press(chrome, "Expand all")
    assert int(chrome.run(f"{TREE}.dataset.shown")) == 1000
    drawn = int(chrome.run(f"{TREE}.dataset.drawn"))
    assert drawn == chrome.run(f"{CARDS}.length")
    assert 1 <= drawn <= 120, "a frame of 1280 by 900 pixels has room for no more cards"
    assert chrome.run("document.querySelectorAll('.edges path').length") == 5
    press(chrome, "Fit")
    assert chrome.run(f"{CARDS}.length") == 1000
    # Far away a card is one element without text.
    assert chrome.run(f"{TREE}.querySelectorAll('*').length") < 1100
    frame = chrome.run(
        f"(() => {{ const r = {TREE}.getBoundingClientRect(); return [r.left, r.top, r.right, r.bottom]; }})()"
    )
    for left, top, right, bottom in boxes(chrome).values():
        assert left >= frame[0] - 1
        assert top >= frame[1] - 1
        assert right <= frame[2] + 1
        assert bottom <= frame[3] + 1
    print("layout of 1000 nodes, ms:", chrome.run(f"{TREE}.dataset.layoutMs"))
    assert chrome.problems() == []


def test_a_chain_of_three_thousand_nodes_does_not_overflow_the_stack(chrome, tree) -> None:
    base = made_trace("chain", 2)
    nodes = [base.nodes[0]]
    import dataclasses

    for slot in range(1, 3000):
        nodes.append(dataclasses.replace(base.nodes[1], parent=slot - 1, end="", answer=None))
    tree(dataclasses.replace(base, nodes=tuple(nodes), best_node=2999))
    press(chrome, "Expand all")
    assert int(chrome.run(f"{TREE}.dataset.shown")) == 3000
    press(chrome, "Selected path")
    assert chrome.run(SHOWN) == 2999
    assert chrome.problems() == []


def test_the_trace_of_a_real_search(chrome, tree, lm) -> None:
    from colasearch.engine.scheduler import search_problems
    from colasearch.engine.settings import SearchSettings, WorldConfig
    from colasearch.problem import Problem

    settings = SearchSettings(sims=12, leaves_in_flight=4, world=WorldConfig(max_tokens=24))
    (done,) = search_problems(lm, [Problem("real", "What is 2+3?")], settings)
    assert done.trace is not None
    trace = tree(done.trace)
    press(chrome, "Expand all")
    press(chrome, "Fit")
    assert len(boxes(chrome)) == len(trace.nodes) > 5
    chrome.run("document.querySelector('#node0').click(); 0")
    assert chrome.run("document.querySelector('.numbers dd').textContent") == str(trace.nodes[0].visits)
    assert chrome.problems() == []


def test_texts_that_were_drawn_are_numbered_not_coded(chrome, tree) -> None:
    tree(made_trace("drawn", 6, searcher="majority"))
    assert " c" not in chrome.run("document.querySelector('.card:not(#node0) .nums').textContent")
    assert "#" in chrome.run("document.querySelector('.card:not(#node0) .nums').textContent")


def grown(*ends: int) -> Trace:
    """A chain of two and a finished text beside it; simulations end as ``ends`` says."""
    import dataclasses

    base = made_trace("grown", 4)
    parents, visits = (-1, 0, 1, 0), [1, 0, 0, 0]
    for slot in ends:
        while slot >= 0:
            visits[slot] += 1
            slot = parents[slot]
    nodes = [
        dataclasses.replace(base.nodes[slot], parent=parent, visits=visits[slot], end="answer" if slot == 3 else "")
        for slot, parent in enumerate(parents)
    ]
    return dataclasses.replace(base, nodes=tuple(nodes), best_node=3, simulations=ends)


def test_the_slider_shows_the_tree_after_each_simulation(chrome, tree) -> None:
    tree(grown(1, 3, 3, 2))
    bar = "document.querySelector('.growth')"
    cards = f"[...{CARDS}].map((c) => c.dataset.node + ':' + c.querySelector('b').textContent).sort().join(' ')"
    assert chrome.run(cards) == "0:5 1:2 2:1 3:2"
    expected = ["0:1", "0:2 1:1", "0:3 1:1 3:1", "0:4 1:1 3:2", "0:5 1:2 2:1 3:2"]
    for step, shown in enumerate(expected):
        chrome.run(
            f"{{ const r = {bar}.querySelector('input'); r.value = {step}; r.dispatchEvent(new Event('input')); }}"
        )
        assert chrome.run(cards) == shown, step
        assert chrome.run(f"{bar}.querySelector('.found').textContent") == (
            f"simulation {step} of 4, {len(shown.split())} nodes"
        )
    chrome.run(f"{TREE}.focus(); 0")
    chrome.key(",")
    assert chrome.run(cards) == expected[3]
    chrome.run("document.querySelector('#node0').click(); 0")
    chrome.key("ArrowRight")  # the selected path's finished text
    chrome.key("ArrowDown")
    chrome.key("ArrowRight")  # a node that is not there yet: the tree grows to it
    assert chrome.run(cards) == expected[4]
    chrome.key("p")
    chrome.until(f"{TREE}.dataset.step === '4' && {bar}.textContent.startsWith('Grow')")
    assert chrome.problems() == []


def test_simulations_that_do_not_add_up_are_not_believed() -> None:
    import dataclasses

    from colasearch.report.tree_data import tree_of

    trace = grown(1, 3, 3, 2)
    assert tree_of(trace)["simulations"] == [1, 3, 3, 2]
    for wrong in ((1, 3, 2), (1, 3, 3, 9), (), ("x",)):
        assert tree_of(dataclasses.replace(trace, simulations=wrong))["simulations"] == [1, 2, 3]


def test_the_pointer_is_told_of_the_node_it_is_on(chrome, tree) -> None:
    trace = tree(made_trace("hover", 20))
    slot = best_path(trace)[1]
    chrome.run(
        f"(() => {{ const r = document.querySelector('#node{slot}').getBoundingClientRect();"
        " window.spot = [r.left + 9, r.top + 9]; })()"
    )
    x, y = chrome.run("window.spot")
    chrome.mouse("mouseMoved", x, y)
    told = chrome.run("document.querySelector('#tip').innerText")
    node = trace.nodes[slot]
    for part in (f"visits {node.visits}", f"prior {node.prior:.3f}", f"c{node.codes[0]}", f"{len(node.tokens)} tokens"):
        assert part in told
    chrome.mouse("mouseMoved", 5, 5)
    assert chrome.run("document.querySelector('#tip').hidden")


def test_thousands_of_cards_in_view_are_painted_and_can_be_pointed_at(chrome, tree) -> None:
    tree(made_trace("crowd", 2500, 1))
    press(chrome, "Expand all")
    press(chrome, "Fit")
    assert int(chrome.run(f"{TREE}.dataset.drawn")) == 2500
    assert chrome.run(f"{CARDS}.length") == 1  # the selected one
    assert not chrome.run("document.querySelector('.crowd').hidden")
    # A point on the root's card, from where the selected one stands.
    root = (
        "(() => { const r = document.querySelector('.tree').getBoundingClientRect(); return [r.left + 17, r.top]; })()"
    )
    x, top = chrome.run(root)
    for y in range(int(top) + 1, int(top) + 400):
        chrome.mouse("mouseMoved", x, y)
        if not chrome.run("document.querySelector('#tip').hidden"):
            break
    assert "the problem" in chrome.run("document.querySelector('#tip').innerText")
    chrome.mouse("mousePressed", x, y, button="left", clickCount=1)
    chrome.mouse("mouseReleased", x, y, button="left", clickCount=1)
    assert chrome.run(SHOWN) == 0
    assert chrome.problems() == []
