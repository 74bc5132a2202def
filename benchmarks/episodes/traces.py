"""The trace of a search over actions, for the tree viewer: a node shows its action, what was seen, and its reward."""

from __future__ import annotations

from colasearch.agents.planning import Searched, nodes_of
from colasearch.agents.writer import Writer
from colasearch.storage.traces import Trace, TraceNode, TraceText


def trace_of(
    searched: Searched, place: int, writer: Writer, *, environment: str, model: str, searcher: str, actions: str
) -> Trace:
    """The trace of one tree of a batch.

    Args:
        searched: The batch.
        place: Of the episode in it.
        writer: The model.
        environment: Its name.
        model: Its name.
        searcher: Its name.
        actions: ``latent`` or ``sampled``.
    """
    planned, world, outcome = searched.planned[place], searched.world, searched.outcome
    view, tree = outcome.tree, planned.tree
    episode, nodes = planned.live.episode, nodes_of(world, outcome, tree)
    rows = []
    for slot, node in enumerate(nodes):
        parent, action = int(view.parents[tree, slot]), int(view.actions[tree, slot])
        turn = node.turns[-1] if slot else None
        end = world.end_of(node)
        rows.append(
            TraceNode(
                parent=parent,
                action=action,
                codes=() if turn is None else (action,),
                tokens=() if turn is None else tuple(writer.layout.action(turn.action)),
                text="" if turn is None else f"> {turn.action}\n{turn.observation}\n",
                visits=int(view.visits[tree, slot]),
                value=float(view.values[tree, slot]),
                raw_value=float(view.raw_values[tree, slot]),
                reward=float(view.rewards[tree, slot]),
                prior=1.0 if turn is None else float(view.prior[tree, parent, action]),
                end={"": "", "done": "answer"}.get(end, "cut"),
                answer=f"score {sum(t.reward for t in node.turns):g}" if end == "done" else None,
                priors=() if end else tuple(round(float(p), 6) for p in view.prior[tree, slot]),
            )
        )
    texts = [
        TraceText(
            "\n".join(f"> {t.action}\n{t.observation}" for t in node.turns),
            f"score {sum(t.reward for t in node.turns):g}",
            float(world.succeeded(node)),
        )
        for node in nodes[1:]
        if node.state.over == "done"
    ]
    best = max((s for s, node in enumerate(nodes) if node.turns == planned.seen), default=0)
    return Trace(
        problem_id=episode.start.id,
        task=environment,
        text=episode.first,
        model=model,
        searcher=searcher,
        seed=writer.seed,
        actions=actions,
        prompt_tokens=tuple(writer.layout.opening(episode.first)),
        answer=f"score {episode.score:g}",
        best_node=best,
        policy_target=tuple(round(float(p), 6) for p in outcome.policy_target_BA[tree]),
        nodes=tuple(rows),
        texts=tuple(texts),
        stop=str(outcome.stop_B[tree]),
        sims=planned.sims,
        generated_tokens=writer.tokens_of[episode.start.id],
        model_calls=planned.live.calls,
    )
